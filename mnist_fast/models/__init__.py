"""The reference networks: one function each, found by name.

Every network is a plain ``nn.Sequential`` whose children carry the parameter names of the reference documents
(``conv1``, ``conv2``, ``fc1``, …), so a ``state_dict`` moves both ways between the documents' own classes and these.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mnist_fast.errors import UsageError
from mnist_fast.models.heads import HEADS, with_linear_head

_MODELS: dict[str, Callable[[int], nn.Sequential]] = {}


def register_model(name: str) -> Callable[[Callable[[int], nn.Sequential]], Callable[[int], nn.Sequential]]:
    """Decorator that enters ``build(num_classes) -> nn.Sequential`` into the registry under ``name``."""

    def register(build: Callable[[int], nn.Sequential]) -> Callable[[int], nn.Sequential]:
        if name in _MODELS:
            raise ValueError(f"a model named {name!r} is registered already")
        _MODELS[name] = build
        return build

    return register


def list_models() -> list[str]:
    """Names that :func:`get_model` knows, in the order of the documents."""
    return list(_MODELS)


def get_model(name: str, *, num_classes: int = 10, fused: bool = True, head: str = "own") -> nn.Module:
    """Build a network with PyTorch's default initialisation.

    Args:
        name: one of :func:`list_models`.
        num_classes: outputs of the last layer.
        fused: with :class:`~mnist_fast.ConvReLUMaxPool2d` blocks, or with the ``torch.nn`` modules they stand for.
        head: the network's ``own`` layers after the convolutions, or one ``linear`` layer in their place
            (:func:`~mnist_fast.models.heads.with_linear_head`); its outputs are logits.

    Returns:
        A module from (N, 1, 28, 28) images to (N, num_classes) logits (log-probabilities for ``cnn`` and
        ``cnn-dropout``). The same random seed gives the same parameters for both values of ``fused``.

    Raises:
        UsageError: no such network or head.
    """
    if name not in _MODELS:
        raise UsageError(f"unknown architecture {name!r}; choose from {', '.join(_MODELS)}")
    if head not in HEADS:
        raise UsageError(f"unknown head {head!r}; choose from {', '.join(HEADS)}")
    model = _MODELS[name](num_classes)
    if head == "linear":
        model = with_linear_head(model, num_classes)
    if fused:
        return model
    from mnist_fast.fusion import unfuse

    return unfuse(model)


from mnist_fast.models import reference as _reference  # noqa: E402, F401  (fills the registry)
