"""``mnist-fast train``."""

from __future__ import annotations

from typing import Any

import click

from mnist_fast.cli.options import COMPUTE, PRINT, RECIPE, RUN, TRAINING_DATA, options


@click.command("train", short_help="Train a reference network.")
@options("recipe", "arch", *TRAINING_DATA, *RECIPE, "normalize", *COMPUTE, *RUN, *PRINT)
def command(**arguments: Any) -> None:
    """Train a reference network; what is not given comes from --recipe, else from the recipe of its document.

    The run goes to --output: weights (last.safetensors, best.safetensors), config.toml, environment.json, metrics.jsonl
    and metrics.csv, and the states that --resume needs.
    """
    from mnist_fast.cli.running import run_command

    run_command("train", **arguments)
