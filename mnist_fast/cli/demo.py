"""``mnist-fast demo``."""

from __future__ import annotations

import os
import threading
import webbrowser
from typing import Any

import click

from mnist_fast.cli.options import COMPUTE, options


@click.command("demo", short_help="Draw digits in the browser and see what a network makes of them.")
@click.argument("checkpoints", metavar="[CHECKPOINT]...", nargs=-1)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="PORT", help="Of 127.0.0.1. [default: a free one]"
)
@click.option("--browser/--no-browser", default=True, help="Open the page, where there is a desktop. [default: on]")
@options("arch", *COMPUTE, "quiet")
def command(checkpoints: tuple[str, ...], port: int, browser: bool, quiet: bool, **arguments: Any) -> None:
    """Serve a page to draw on, and show what each CHECKPOINT makes of the drawing while it grows.

    The probability of each class and the 28x28 that the network gets, prepared as by predict. Several checkpoints can
    be switched between; without one it is the newest run under ./runs. The page answers this computer only and loads
    nothing from the network. Ctrl-C ends it, with exit code 130.

    \b
    mnist-fast demo runs/cnn
    mnist-fast demo runs/cnn runs/lenet --port 8000 --no-browser
    """
    from mnist_fast.demo import DemoServer, load_networks
    from mnist_fast.progress import Reporter

    given = {name: value for name, value in arguments.items() if value is not None}
    networks = load_networks(checkpoints, reporter=Reporter(quiet=quiet), **given)
    with DemoServer(networks, port) as server:
        click.echo(f"{server.url} shows {', '.join(network.name for network in networks)}; Ctrl-C ends it")
        # Elsewhere Python might start a browser in this terminal.
        if browser and any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")):
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever()
