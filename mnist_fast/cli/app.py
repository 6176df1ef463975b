"""The command group: finds its commands by name, and turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import click

from mnist_fast.errors import MnistFastError
from mnist_fast.malloc import keep_freed_memory
from mnist_fast.version import __version__

# name -> first line of its help. A command's module is imported only when it is called, so that help stays fast.
COMMANDS = {
    "train": "Train a reference network.",
    "finetune": "Train a checkpoint further, with layers frozen or a new head.",
    "eval": "Evaluate a checkpoint: accuracy, precision, recall, F1, confusion matrix.",
    "predict": "Tell the digits in your own pictures.",
    "demo": "Draw digits in the browser and see what a network makes of them.",
    "visualize": "Draw the filters, feature maps and winners of a network.",
    "export": "Save a network for use without this package: ONNX, torch.export, state_dict.",
    "bench": "Compare the fused blocks with stock PyTorch, side by side in one process.",
    "speedrun": "Race to 99% on MNIST: the published recipe with stock PyTorch against ours.",
    "data": "Fetch, verify and locate the datasets.",
    "doctor": "Report what was built, what this machine runs, and what is missing.",
}
# They train or test, step after step. Not bench: it measures processes as PyTorch leaves them.
STEPPING_COMMANDS = ("train", "finetune", "eval", "speedrun")


class LazyGroup(click.Group):
    """A group that imports ``mnist_fast.cli.<name>`` when ``<name>`` is called, for the ``command`` in it."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"mnist_fast.cli.{name}").command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            with _sigterm_exits():
                return super().invoke(ctx)
        except MnistFastError as error:
            click.echo(f"mnist-fast: error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:  # click alone would exit with 1
            click.echo("mnist-fast: interrupted", err=True)
            ctx.exit(128 + signal.SIGINT)
        except OSError as error:
            if error.errno == errno.EPIPE:  # click leaves quietly
                raise
            with contextlib.suppress(OSError):  # if it is standard output that is full, leaving would fail once more
                sys.stdout.close()
            click.echo(
                f"mnist-fast: error: {error.strerror}{f': {error.filename}' if error.filename else ''}", err=True
            )
            ctx.exit(1)


@contextlib.contextmanager
def _sigterm_exits() -> Iterator[None]:
    """While it is entered, SIGTERM ends the process by an exception, as SIGINT does, so that locks and files close."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="mnist-fast")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Train small convolutional networks with fused conv+ReLU+maxpool kernels, and compare them with stock PyTorch."""
    if ctx.invoked_subcommand in STEPPING_COMMANDS:
        keep_freed_memory()
