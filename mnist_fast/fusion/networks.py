"""Whole networks: containers first, then what is left in hand-written ``forward``s."""

from __future__ import annotations

import copy
import warnings

from torch import nn

from mnist_fast.fusion.graph import CannotTraceError, fuse_graph, unfuse_graph, unfused_block
from mnist_fast.fusion.report import FusionReport, make_report
from mnist_fast.fusion.sequential import called_from_forward, fuse_sequentials, unfuse_sequentials
from mnist_fast.nn import ConvReLUMaxPool2d, Linear


class NotFusedWarning(UserWarning):
    """Convolutions were left as they were; the message says where and why."""


def fuse(module: nn.Module) -> nn.Module:
    """A copy of ``module`` whose Conv2d → ReLU → MaxPool2d chains run as fused blocks, and Linear layers as ours.

    Recognised: either order of ReLU and pooling, either missing; as modules of an ``nn.Sequential``, or as modules,
    functions or methods in a ``forward`` that ``torch.fx`` can trace. Convolutions with hooks or parametrisations, and
    poolings with padding, dilation, ``ceil_mode`` or indices stay as they are: :func:`fusion_report` names them.

    Warns:
        NotFusedWarning: a ``forward`` with convolutions could not be traced.
    """
    fused, _, untraced = _fuse(module)
    if untraced is not None:
        warnings.warn(f"only nn.Sequential chains were fused: {untraced}", NotFusedWarning, stacklevel=2)
    return fused


def fusion_report(module: nn.Module) -> FusionReport:
    """What :func:`fuse` makes of each convolution of ``module``, and what it leaves and why; changes nothing."""
    fused, reasons, untraced = _fuse(module)
    return make_report(module, fused, reasons, untraced or "no forward calls it")


def unfuse(module: nn.Module) -> nn.Module:
    """The inverse: a copy of ``module`` of ``torch.nn`` modules only, with the same ``state_dict``.

    It can be saved whole and loaded where this package is not installed.

    Raises:
        CannotTraceError: a block is called from a ``forward`` that ``torch.fx`` cannot trace.
    """
    module = _with_linear(copy.deepcopy(module), Linear, nn.Linear)
    if isinstance(module, ConvReLUMaxPool2d):
        return unfused_block(module)
    unfuse_sequentials(module)
    if any(isinstance(child, ConvReLUMaxPool2d) for child in called_from_forward(module)):
        return unfuse_graph(module)
    return module


def _fuse(module: nn.Module) -> tuple[nn.Module, dict[str, str], str | None]:
    """The fused copy, the reasons of what stays by its name, and why ``forward`` was not traced."""
    module = _with_linear(copy.deepcopy(module), nn.Linear, Linear)
    reasons = fuse_sequentials(module)
    if not any(type(child) is nn.Conv2d for child in called_from_forward(module)):
        return module, reasons, None
    try:
        traced, found = fuse_graph(module)
    except CannotTraceError as error:
        return module, reasons, str(error)
    merged = reasons | found  # forward sees more than the containers do
    return traced, {name: reason for name, reason in merged.items() if reason is not None}, None


def _with_linear(module: nn.Module, old: type[nn.Linear], new: type[nn.Linear]) -> nn.Module:
    """``module`` with the linear layers of one class made another's; that changes nothing but their ``forward``."""
    for child in module.modules():
        if type(child) is old:
            child.__class__ = new
    return module
