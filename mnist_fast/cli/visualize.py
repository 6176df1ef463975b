"""``mnist-fast visualize``."""

from __future__ import annotations

import json
from typing import Any

import click

from mnist_fast.cli.options import DATA, PRINT, options


@click.command("visualize", short_help="Pictures of the filters, feature maps and winners of a network.")
@click.argument("checkpoint")
@click.option("--output", required=True, metavar="DIR", help="Directory for the PNG files.")
@click.option("--image", metavar="FILE", help="A picture of yours. [default: the first test image of the data]")
@options("arch", *DATA, *PRINT)
def command(checkpoint: str, output: str, as_json: bool, quiet: bool, **arguments: Any) -> None:
    """Draw what CHECKPOINT has learned, and what each convolution makes of one picture.

    Its filters, its feature maps, which position of each pooling window won (all that the fused block keeps for
    backward), and the loss and accuracy of the run. Prints the path of each PNG file.

    \b
    mnist-fast visualize runs/cnn --output pictures
    mnist-fast visualize runs/cnn --image seven.jpg --output pictures
    """
    from mnist_fast.plots.reports import plot_network
    from mnist_fast.progress import Reporter

    given = {name: value for name, value in arguments.items() if value is not None}
    files = plot_network(checkpoint, output, reporter=Reporter(quiet=quiet), **given)
    if as_json:
        click.echo(json.dumps({"command": "visualize", "checkpoint": checkpoint, "files": list(map(str, files))}))
    else:
        for file in files:
            click.echo(file)
