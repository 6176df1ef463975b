"""Weights that other programs wrote, brought under the names of a reference network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mnist_fast.models import get_model
from mnist_fast.models.heads import HEADS

# What DistributedDataParallel and torch.compile put in front of every name.
_WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class ForeignWeights:
    """A ``state_dict`` that fits a reference network.

    Attributes:
        head: which head that network has.
        num_classes: its outputs.
        weights: under its names.
        note: what was done to make it fit, for people; None where the names were the network's own.
    """

    head: str
    num_classes: int
    weights: dict[str, Tensor]
    note: str | None = None


def recognise(state_dict: Mapping[str, Tensor], arch: str) -> ForeignWeights | None:
    """Find ``arch`` in a ``state_dict``: by its names, as the documents' own classes have them, else by shapes.

    Names in front of which ``DistributedDataParallel`` or ``torch.compile`` put theirs count as without. A layer beside
    those of the network is left out: document 002 adds an ``fc4`` that its forward pass never calls. Under other names,
    each parameter is the first tensor of its shape that is not taken yet, and none may be left over.

    Returns:
        None: it is not that network.
    """
    state_dict = {_unwrapped(name): tensor for name, tensor in state_dict.items()}
    for head in HEADS:
        own = get_model(arch, head=head).state_dict()
        if own.keys() == state_dict.keys():
            return ForeignWeights(head, _rows(state_dict[[*own][-1]]), state_dict)
    matrices = [tensor for tensor in state_dict.values() if tensor.ndim == 2]
    if not matrices or not len(matrices[-1]):
        return None
    num_classes = len(matrices[-1])
    own = get_model(arch, num_classes=num_classes).state_dict()
    if own.keys() < state_dict.keys() and all(own[name].shape == state_dict[name].shape for name in own):
        spare = ", ".join(name for name in state_dict if name not in own)
        note = f"{spare} left out: {arch} does not call what is no layer of its own"
        return ForeignWeights("own", num_classes, {name: state_dict[name] for name in own}, note)
    for head in HEADS:
        own = get_model(arch, num_classes=num_classes, head=head).state_dict()
        names = _by_shape(own, state_dict)
        if names is not None:
            note = "recognised by shapes: " + ", ".join(f"{theirs} is {ours}" for ours, theirs in names.items())
            return ForeignWeights(head, num_classes, {ours: state_dict[names[ours]] for ours in names}, note)
    return None


def _rows(tensor: Tensor) -> int:
    return tensor.shape[0] if tensor.ndim else 0


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _by_shape(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, str] | None:
    """Their name for each of ours; None where something is left over or missing."""
    free, names = dict(theirs), {}
    for name, tensor in own.items():
        match = next((other for other, value in free.items() if value.shape == tensor.shape), None)
        if match is None:
            return None
        names[name] = match
        del free[match]
    return None if free else names
