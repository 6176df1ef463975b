"""The command group: finds its commands by name, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib

import click

from mnist_fast.errors import MnistFastError
from mnist_fast.version import __version__

# name -> first line of its help. A command's module is imported only when it is called, so that help stays fast.
COMMANDS = {
    "train": "Train a reference network.",
    "finetune": "Train a checkpoint further, with layers frozen or a new head.",
    "eval": "Evaluate a checkpoint: accuracy, precision, recall, F1, confusion matrix.",
    "bench": "Compare the fused blocks with stock PyTorch, side by side in one process.",
    "data": "Fetch, verify and locate the datasets.",
    "doctor": "Report what was built, what this machine runs, and what is missing.",
}


class LazyGroup(click.Group):
    """A group that imports ``mnist_fast.cli.<name>`` when ``<name>`` is called; the module's ``command`` is the command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"mnist_fast.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MnistFastError as error:
            click.echo(f"mnist-fast: error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="mnist-fast")
def main() -> None:
    """Train small convolutional networks with fused conv+ReLU+maxpool kernels, and compare them with stock PyTorch."""
