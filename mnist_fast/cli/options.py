"""Options that several commands share, each written once. Their names are those of :class:`mnist_fast.config.Config`.

No default stands here but None: what is not given comes from the recipe, the configuration file or the resumed run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mnist_fast.config import BACKENDS, FREEZES, HEADS, PRECISIONS
from mnist_fast.data.names import AUGMENTATIONS, DATASET_CHOICES, is_dataset_name
from mnist_fast.recipes import LADDER, NORMALIZATIONS, OPTIMIZERS, RECIPES, SCHEDULES

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]


def _dataset_name(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_dataset_name(value):
        raise click.BadParameter(f"{value!r} is not one of {', '.join(map(repr, DATASET_CHOICES))}.")
    return value


_GOALS = ", ".join(f"{name} {rung.goal}" for name, rung in LADDER.items())
_OPTIONS: dict[str, Decorator[Any]] = {
    "arch": click.option("--arch", type=click.Choice(list(RECIPES)), help="The network. [default: cnn]"),
    "recipe": click.option(
        "--recipe",
        type=click.Choice(list(LADDER)),
        help=f"The network and all its numbers at once, for a test accuracy on MNIST: {_GOALS}. "
        "[default: the recipe of --arch]",
    ),
    "dataset": click.option(
        "--dataset",
        metavar=f"[{'|'.join(DATASET_CHOICES)}]",
        callback=_dataset_name,
        help="The pictures; auto: MNIST where it can be had, else scikit-learn's digits; folder:DIR: your own, in a "
        "folder for each class. [default: auto]",
    ),
    "data_dir": click.option(
        "--data-dir", metavar="DIR", help="torchvision root of the data. [default: $MNIST_FAST_DATA, else a cache]"
    ),
    "offline": click.option("--offline/--online", default=None, help="Never touch the network."),
    "val_fraction": click.option(
        "--val-fraction",
        type=float,
        metavar="FRACTION",
        help="Hold out this share of the training images for validation. [default: 0]",
    ),
    "augment": click.option(
        "--augment",
        type=click.Choice(AUGMENTATIONS),
        help="Move each training image at random, by whole pixels or also turned, sheared and scaled. [default: none]",
    ),
    "augment_strength": click.option(
        "--augment-strength", type=float, metavar="FRACTION", help="How far --augment moves them. [default: 1]"
    ),
    "average_views": click.option(
        "--average-views/--single-view",
        default=None,
        help="Average test outputs over nine copies of each image, moved a little.",
    ),
    "epochs": click.option("--epochs", type=int, help="Passes over the training images."),
    "batch_size": click.option("--batch-size", type=int, help="Images a step."),
    "images_per_epoch": click.option(
        "--images-per-epoch", type=int, help="Use at most this many images of each epoch's order. [default: all]"
    ),
    "optimizer": click.option(
        "--optimizer", type=click.Choice(OPTIMIZERS), help="muon: Muon for the filters, Adam for the rest."
    ),
    "lr": click.option("--lr", type=float, help="Learning rate (with muon: Adam's)."),
    "muon_lr": click.option("--muon-lr", type=float, help="Learning rate of the filters with muon."),
    "momentum": click.option("--momentum", type=float, help="Of sgd and muon."),
    "betas": click.option("--betas", type=(float, float), default=None, metavar="B1 B2", help="Of adam and adamw."),
    "backbone_lr_factor": click.option(
        "--backbone-lr-factor",
        type=float,
        metavar="FACTOR",
        help="Learning rate of all layers before the last, as a multiple of --lr. [default: 1]",
    ),
    "weight_decay": click.option("--weight-decay", type=float, help="Of the optimizer; biases have none."),
    "schedule": click.option("--schedule", type=click.Choice(SCHEDULES), help="How the learning rate changes."),
    "warmup_steps": click.option(
        "--warmup-steps", type=int, metavar="N", help="Raise the learning rate linearly in N steps first. [default: 0]"
    ),
    "accumulate": click.option(
        "--accumulate", type=int, metavar="N", help="Batches a step, as one of N times the size. [default: 1]"
    ),
    "clip_grad_norm": click.option(
        "--clip-grad-norm", type=float, metavar="NORM", help="Scale gradients down to this norm."
    ),
    "ema": click.option(
        "--ema", type=float, metavar="DECAY", help="Evaluate and save an exponential moving average of the weights."
    ),
    "label_smoothing": click.option("--label-smoothing", type=float, help="Of the training loss."),
    "normalize": click.option(
        "--normalize", type=click.Choice(NORMALIZATIONS), help="Input: (x/255 - mean)/std of the dataset, or x/255."
    ),
    "seed": click.option(
        "--seed", type=int, help="Of all that is drawn: parameters, data order, dropout, … [default: 0]"
    ),
    "device": click.option("--device", metavar="auto|cpu|cuda[:i]", help="Where to compute. [default: auto]"),
    "backend": click.option(
        "--backend", type=click.Choice(BACKENDS), help="Fused blocks, or the torch modules they stand for."
    ),
    "precision": click.option(
        "--precision", type=click.Choice(PRECISIONS), help="fp32, or autocast to a lower one. [default: fp32]"
    ),
    "compile": click.option("--compile/--no-compile", default=None, help="Train through torch.compile."),
    "cuda_graph": click.option(
        "--cuda-graph/--no-cuda-graph", default=None, help="On a GPU, replay each step as one CUDA graph. [default: on]"
    ),
    "replay": click.option(
        "--replay/--no-replay", default=None, help="On a CPU, record a step's operators and replay them. [default: on]"
    ),
    "deterministic": click.option(
        "--deterministic/--no-deterministic",
        default=None,
        help="Refuse operations whose results may differ from run to run.",
    ),
    "patience": click.option(
        "--patience", type=int, metavar="EPOCHS", help="Stop after so many epochs without a better accuracy."
    ),
    "tensorboard": click.option(
        "--tensorboard/--no-tensorboard", default=None, help="Write event files for TensorBoard into --output."
    ),
    "log_every": click.option(
        "--log-every", type=int, help="Batches between two records of the running loss. [default: 100]"
    ),
    "save_every": click.option(
        "--save-every", type=int, metavar="STEPS", help="Save within epochs too. [default: at the end of each epoch]"
    ),
    "keep": click.option("--keep", type=int, metavar="N", help="Saved states to keep, for --resume. [default: 2]"),
    "target_acc": click.option(
        "--target-acc", type=float, metavar="FRACTION", help="Exit with 4 where the final test accuracy is lower."
    ),
    "freeze": click.option(
        "--freeze",
        metavar=f"{'|'.join(FREEZES)}|LAYER,…",
        help="Layers whose parameters stay as they are; by name: conv1 or conv1,fc*. [default: none]",
    ),
    "head": click.option(
        "--head",
        type=click.Choice(HEADS),
        help="linear: one new linear layer in place of all after the convolutions. [default: keep]",
    ),
    "output": click.option("--output", metavar="DIR", help="Directory of the run. [default: a new one under ./runs]"),
    "resume": click.option(
        "--resume", is_flag=True, help="Continue the run in --output; where there is none yet, start one."
    ),
    "config_file": click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Options as TOML (see --print-config); those on the command line win.",
    ),
    "print_config": click.option("--print-config", is_flag=True, help="Print the configuration as TOML and exit."),
    "dry_run": click.option("--dry-run", is_flag=True, help="Check and build everything, train nothing."),
    "as_json": click.option(
        "--json", "as_json", is_flag=True, help="Print the result as one JSON object, the last line of standard output."
    ),
    "quiet": click.option("--quiet", is_flag=True, help="No progress on standard error."),
}

RECIPE = [
    "epochs",
    "batch_size",
    "images_per_epoch",
    "optimizer",
    "lr",
    "muon_lr",
    "momentum",
    "betas",
    "weight_decay",
    "schedule",
    "warmup_steps",
    "accumulate",
    "clip_grad_norm",
    "ema",
    "label_smoothing",
]
DATA = ["dataset", "data_dir", "offline"]
TRAINING_DATA = [*DATA, "val_fraction", "augment", "augment_strength", "average_views"]
COMPUTE = ["device", "backend", "precision"]
RUN = ["seed", "log_every", "save_every", "keep", "patience", "target_acc"]
RUN += [
    "compile",
    "cuda_graph",
    "replay",
    "deterministic",
    "tensorboard",
    "output",
    "resume",
    "config_file",
    "print_config",
    "dry_run",
]
PRINT = ["as_json", "quiet"]


def options(*names: str) -> Decorator[Any]:
    """Decorator that gives a command the named options, in this order in its help."""

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            command = _OPTIONS[name](command)
        return command

    return decorate
