"""The network that a run begins with: a fresh one, a checkpoint's to fine-tune, or that of the run it continues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from mnist_fast.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from mnist_fast.config import Config
from mnist_fast.data import Dataset
from mnist_fast.finetune import finetuned_spec, freeze, load_backbone
from mnist_fast.models.heads import head_name
from mnist_fast.models.spec import NetworkSpec


@dataclass(frozen=True)
class StartingPoint:
    """A network on the CPU, and where it comes from.

    Attributes:
        spec: what it is.
        model: its parameters do not require gradients where the configuration freezes them. That of a run to continue
            still has fresh values.
        checkpoint: what fine-tuning begins with; None otherwise, and when it is continued.
        notes: what people should know of it, each in one line.
    """

    spec: NetworkSpec
    model: nn.Module
    checkpoint: Checkpoint | None = None
    notes: tuple[str, ...] = ()


def starting_point(config: Config, dataset: Dataset, state: Mapping[str, Any] | None) -> StartingPoint:
    """Build what ``config`` says for the classes of ``dataset``; ``state``: of the run to continue.

    Raises:
        CheckpointError: the checkpoint is damaged, or the run was trained on other data.
        UsageError: options that do not fit the checkpoint or the data.
    """
    start = _unfrozen(config, dataset, state)
    freeze(start.model, config.freeze)
    return start


def _unfrozen(config: Config, dataset: Dataset, state: Mapping[str, Any] | None) -> StartingPoint:
    fused = config.backend == "fused"
    if state is not None:
        if state["dataset"] != dataset.name:
            raise CheckpointError(f"the run was trained on {state['dataset']}, the data is now {dataset.name}")
        spec = NetworkSpec(**state["spec"])
        return StartingPoint(spec, spec.build(fused=fused))
    if config.checkpoint is not None:
        checkpoint = load_checkpoint(config.checkpoint, arch=config.arch)
        spec = finetuned_spec(checkpoint, config, dataset)
        model = spec.build(fused=fused)
        other_classes = spec.num_classes != checkpoint.spec.num_classes
        load_backbone(model, checkpoint, new_head=other_classes or config.head == "linear")
        notes = [f"{checkpoint.path}: {checkpoint.note}"] if checkpoint.note else []
        if other_classes:
            notes.append(
                f"{checkpoint.path} tells {checkpoint.spec.num_classes} classes apart and {dataset.name} has "
                f"{spec.num_classes}: {head_name(model)} starts anew"
            )
        return StartingPoint(spec, model, checkpoint, tuple(notes))
    mean, std = (dataset.mean, dataset.std) if config.normalize == "dataset" else (0.0, 1.0)
    spec = NetworkSpec(config.arch, len(dataset.classes), mean, std)
    return StartingPoint(spec, spec.build(fused=fused))
