"""The configuration of a run: checked values, from the recipe, a TOML file and the command line, in that order.

Imports no torch: ``--print-config`` and ``--help`` answer at once.
"""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from mnist_fast.data.names import AUGMENTATIONS, DATASET_CHOICES, is_dataset_name
from mnist_fast.errors import UsageError
from mnist_fast.recipes import LADDER, NORMALIZATIONS, OPTIMIZERS, RECIPES, SCHEDULES, Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BACKENDS = ("fused", "stock")
PRECISIONS = ("fp32", "bf16", "fp16")
FREEZES = ("none", "conv", "all-but-head")
HEADS = ("keep", "linear")

_CHOICES = {
    "arch": tuple(RECIPES),
    "recipe": tuple(LADDER),
    "dataset": DATASET_CHOICES,
    "augment": AUGMENTATIONS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "normalize": NORMALIZATIONS,
    "backend": BACKENDS,
    "precision": PRECISIONS,
    "head": HEADS,
}
# name -> (what a value must be, in words; the test of it). None is allowed where it is the default.
_RANGES = {
    "epochs": ("an integer of at least 1", lambda v: v >= 1),
    "batch_size": ("an integer of at least 1", lambda v: v >= 1),
    "images_per_epoch": ("an integer of at least 1", lambda v: v >= 1),
    "accumulate": ("an integer of at least 1", lambda v: v >= 1),
    "warmup_steps": ("an integer of at least 0", lambda v: v >= 0),
    "patience": ("an integer of at least 1", lambda v: v >= 1),
    "log_every": ("an integer of at least 1", lambda v: v >= 1),
    "save_every": ("an integer of at least 1", lambda v: v >= 1),
    "keep": ("an integer of at least 1", lambda v: v >= 1),
    "seed": ("an integer from 0 to 2**63 - 1", lambda v: 0 <= v < 2**63),
    "lr": ("a number above 0", lambda v: 0 < v < math.inf),
    "muon_lr": ("a number above 0", lambda v: 0 < v < math.inf),
    "backbone_lr_factor": ("a number above 0", lambda v: 0 < v < math.inf),
    "momentum": ("a number from 0 to below 1", lambda v: 0 <= v < 1),
    "betas": ("two numbers from 0 to below 1", lambda v: len(v) == 2 and all(0 <= b < 1 for b in v)),
    "weight_decay": ("a number of at least 0", lambda v: 0 <= v < math.inf),
    "val_fraction": ("a number from 0 to below 1", lambda v: 0 <= v < 1),
    "clip_grad_norm": ("a number above 0", lambda v: 0 < v < math.inf),
    "ema": ("a decay above 0 and below 1, such as 0.999", lambda v: 0 < v < 1),
    "augment_strength": ("a number from 0 to 1", lambda v: 0 <= v <= 1),
    "label_smoothing": ("a number from 0 to below 1", lambda v: 0 <= v < 1),
    "target_acc": ("a fraction from 0 to 1, such as 0.99", lambda v: 0 <= v <= 1),
    "device": ("auto, cpu, cuda or cuda:INDEX", lambda v: re.fullmatch(r"auto|cpu|cuda(:\d+)?", v) is not None),
}


@dataclass(frozen=True, kw_only=True)
class Config(Recipe):
    """All that decides a run: the recipe, and where and on what it runs. Raises UsageError for a value out of range.

    Attributes:
        arch: a network of :func:`mnist_fast.models.list_models`.
        recipe: the name in :data:`mnist_fast.recipes.LADDER` that the values started from; None: the network's own.
        dataset: one of :data:`mnist_fast.data.names.DATASET_NAMES`, or ``folder:DIR``.
        data_dir: torchvision root of the data; None: :func:`mnist_fast.data.default_data_dir`.
        offline: never touch the network.
        val_fraction: share of each class's training images that is held out for validation; 0: none.
        seed: of the initial parameters, the data order, the validation images, augmentation and dropout.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:INDEX``.
        backend: ``fused`` blocks or the ``stock`` torch modules they stand for.
        precision: ``fp32``, or the lower one of autocast: ``bf16``, ``fp16``.
        compile: train through ``torch.compile``.
        cuda_graph: on a GPU, replay the training step as one CUDA graph, where nothing in it prevents that.
        replay: on a CPU, record a training step's operators once and replay them, where nothing in it prevents that.
        deterministic: ``torch.use_deterministic_algorithms``: an operation that may differ from run to run is an error.
        log_every: batches between two records of the running loss.
        save_every: steps between two saves within an epoch; None: only at the end of each epoch.
        keep: saved states that are kept; where the newest is damaged, the one before serves to resume.
        patience: stop when this many epochs have brought no better accuracy, on the validation images if there are
            any, else on the test images; None: never.
        tensorboard: write event files for TensorBoard into the run's directory.
        target_acc: test accuracy (0 to 1) below which a finished run is a failure.
        checkpoint: fine-tuning only: the checkpoint to start from.
        freeze: which parameters stay as they are: ``none``, those of the convolutions (``conv``), ``all-but-head``, or
            those of the layers named here, with commas between and ``*`` for any letters: ``conv1,fc*``.
        head: ``keep`` the layers after the convolutions, or put one new ``linear`` layer in their place.
    """

    arch: str
    recipe: str | None = None
    dataset: str = "auto"
    data_dir: str | None = None
    offline: bool = False
    val_fraction: float = 0.0
    seed: int = 0
    device: str = "auto"
    backend: str = "fused"
    precision: str = "fp32"
    compile: bool = False
    cuda_graph: bool = True
    replay: bool = True
    deterministic: bool = False
    log_every: int = 100
    save_every: int | None = None
    keep: int = 2
    patience: int | None = None
    tensorboard: bool = False
    target_acc: float | None = None
    checkpoint: str | None = None
    freeze: str = "none"
    head: str = "keep"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        if self.checkpoint is None and (self.freeze, self.head) != ("none", "keep"):
            raise UsageError("freeze and head are for fine-tuning a checkpoint")
        if self.checkpoint is not None and self.recipe is not None:
            raise UsageError(
                f"the recipe {self.recipe} trains from the start, fine-tuning has its own; leave recipe out"
            )

    def to_toml(self) -> str:
        """The configuration as TOML, one key for each option that has a value; :func:`read_toml` reads it back."""
        absent = () if self.checkpoint is not None else ("freeze", "head")
        values = dataclasses.asdict(self)
        return tomli_w.dumps({key: value for key, value in values.items() if value is not None and key not in absent})


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """``value`` in the field's type, or a UsageError that names both."""
    name, kind = field.name, str(field.type)
    if value is None and "None" in kind:
        return None
    wrong = UsageError(f"{name.replace('_', '-')} {value!r}: must be {_expected(name, kind)}")
    known = is_dataset_name(value) if name == "dataset" else value in _CHOICES.get(name, (value,))
    if not known:
        raise UsageError(f"unknown {name} {value!r}; choose from {', '.join(_CHOICES[name])}")
    try:
        if kind.startswith("float") and not isinstance(value, bool):
            value = float(value) if isinstance(value, (int, float)) else value
        elif kind.startswith("tuple"):
            value = tuple(float(part) for part in value)
        if not isinstance(value, {"int": int, "flo": float, "tup": tuple, "boo": bool, "str": str}[kind[:3]]):
            raise wrong
        if (isinstance(value, bool) and kind != "bool") or (name in _RANGES and not _RANGES[name][1](value)):
            raise wrong
    except (TypeError, ValueError):
        raise wrong from None
    return value


def _expected(name: str, kind: str) -> str:
    if name in _RANGES:
        return _RANGES[name][0]
    return {"bool": "true or false"}.get(kind, "text")


def make_config(options: Mapping[str, Any], *, recipe: Recipe | None = None) -> Config:
    """A configuration from the options that were given; what is missing or None comes from the recipe.

    Args:
        options: values under the names of :class:`Config`'s attributes. Without ``arch``: the network of ``recipe``,
            else ``cnn``.
        recipe: instead of the architecture's own, where the options name none.

    Raises:
        UsageError: an unknown name, a value out of range, a network that is not the recipe's.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if "recipe" in given:
        recipe = _named_recipe(given)
    arch = given.setdefault("arch", "cnn")
    if arch not in RECIPES:
        raise UsageError(f"unknown arch {arch!r}; choose from {', '.join(RECIPES)}")
    names = {field.name for field in dataclasses.fields(Config)}
    for key in given:
        if key not in names:
            raise UsageError(f"unknown option {key!r}; the options are {', '.join(sorted(names))}")
    return Config(**{**dataclasses.asdict(recipe or RECIPES[arch]), **given})


def _named_recipe(given: dict[str, Any]) -> Recipe:
    """The recipe that ``given`` names; its network goes into ``given``."""
    name = given["recipe"]
    if not isinstance(name, str) or name not in LADDER:
        raise UsageError(f"unknown recipe {name!r}; choose from {', '.join(LADDER)}")
    rung = LADDER[name]
    if given.setdefault("arch", rung.arch) != rung.arch:
        raise UsageError(
            f"the recipe {name} trains the network {rung.arch}, not {given['arch']}; leave one of them out"
        )
    return rung.recipe


def read_toml(path: str | Path) -> dict[str, Any]:
    """The options in a TOML file, to be given to :func:`make_config`; hyphens in keys count as underscores.

    Raises:
        UsageError: the file cannot be read or is no TOML.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration {path} is no valid TOML: {error}") from None
    return {key.replace("-", "_"): value for key, value in content.items()}


# What a resumed run may change without becoming another run.
_MAY_CHANGE_ON_RESUME = {
    "data_dir",
    "offline",
    "device",
    "log_every",
    "save_every",
    "keep",
    "patience",
    "tensorboard",
    "target_acc",
    "checkpoint",
}


def changed_on_resume(old: Config, new: Config) -> list[str]:
    """Options that differ between a run and its continuation and must not, as ``"lr (0.001 there, 0.01 now)"``."""
    fields = {field.name for field in dataclasses.fields(Config)} - _MAY_CHANGE_ON_RESUME
    if old.schedule == new.schedule and new.schedule in ("constant", "step"):
        fields.discard("epochs")  # these schedules do not depend on how long the run is
    return [
        f"{name.replace('_', '-')} ({getattr(old, name)} there, {getattr(new, name)} now)"
        for name in sorted(fields)
        if getattr(old, name) != getattr(new, name)
    ]
