"""``mnist-fast finetune``."""

from __future__ import annotations

from typing import Any

import click

from mnist_fast.cli.options import COMPUTE, PRINT, RECIPE, RUN, TRAINING_DATA, options


@click.command("finetune", short_help="Train a checkpoint further, with layers frozen or a new head.")
@click.argument("checkpoint")
@options("freeze", "head", "backbone_lr_factor", "arch", *TRAINING_DATA, *RECIPE, *COMPUTE, *RUN, *PRINT)
def command(**arguments: Any) -> None:
    """Train CHECKPOINT further: a file, or a run directory (its best.safetensors, else its last.safetensors).

    Convolutions can be frozen (--freeze conv) and a new linear layer put in place of all layers after them
    (--head linear). A plain state_dict needs --arch.
    """
    from mnist_fast.cli.running import run_command

    run_command("finetune", **arguments)
