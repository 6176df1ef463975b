"""Who may be watching an operator. Our shortcuts past the dispatcher are for calls that nobody watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_PLAIN = frozenset((Tensor, torch.nn.Parameter, type(None)))
_shortcuts_recorded = False


@contextmanager
def shortcuts_recorded() -> Iterator[None]:
    """Within it, a dispatch mode is not taken for an observer: it is ours, and wants what the shortcuts do."""
    global _shortcuts_recorded
    _shortcuts_recorded = True
    try:
        yield
    finally:
        _shortcuts_recorded = False


def transformed() -> bool:
    """Whether ``torch.func`` or forward-mode differentiation is at work, for which the kernels have no rules."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def traced() -> bool:
    """Whether a compiler or a tracer records what is called; what is asked of shapes becomes part of its record."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


def observed(*tensors: Tensor | None) -> bool:
    """Whether a compiler, a tracer, a mode, a transformation or a tensor subclass has to see the operator itself."""
    return (
        traced()
        or transformed()
        or (torch._C._len_torch_dispatch_stack() > 0 and not _shortcuts_recorded)
        or torch._C._len_torch_function_stack() > 0
        or not _PLAIN.issuperset(map(type, tensors))
    )
