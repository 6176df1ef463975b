"""A case run in one mode: its own copy of the modules and the input, in that mode's layout, perhaps compiled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mnist_fast.bench.config import Mode
from mnist_fast.devices import autocast

if TYPE_CHECKING:
    from mnist_fast.bench.cases import Case


@dataclass(frozen=True)
class Subject:
    """What the passes call.

    Args:
        mode: the name of the mode.
        module: owns the parameters.
        forward: ``module`` as the mode runs it.
        input: in the mode's memory format; a leaf that requires a gradient where the network needs one.
        labels: int64 (N,) classes.
        precision: ``fp32``, or that of autocast in ``forward``.
    """

    mode: str
    module: nn.Module
    forward: Callable[[Tensor], Tensor]
    input: Tensor
    labels: Tensor
    precision: str = "fp32"

    def clear_gradients(self) -> None:
        self.input.grad = None
        for parameter in self.module.parameters():
            parameter.grad = None

    def move(self) -> None:
        """Put parameters and input elsewhere in memory, as another process would have them elsewhere."""
        for tensor in (self.input, *self.module.parameters()):
            tensor.data = tensor.data.clone()  # in the same memory format, and compiled code goes on with it


def build_subject(case: Case, mode: Mode, precision: str) -> Subject:
    """A copy of ``case`` for ``mode``. Compilation waits for the first call, as torch does it."""
    memory_format = torch.channels_last if mode.channels_last else torch.contiguous_format
    module = copy.deepcopy(case.fused if mode.fused else case.stock).to(memory_format=memory_format)
    value = case.input.clone(memory_format=memory_format).requires_grad_(case.input_requires_grad)
    run: Callable[[Tensor], Tensor] = module
    if mode.compiled:
        # fullgraph: a graph break, or torch's recompilation limit, would silently time eager code as compiled.
        run = torch.compile(module, fullgraph=True, dynamic=False)
    return Subject(mode.name, module, _in_precision(run, precision), value, case.labels, precision)


def _in_precision(run: Callable[[Tensor], Tensor], precision: str) -> Callable[[Tensor], Tensor]:
    if precision == "fp32":
        return run

    def run_under_autocast(value: Tensor) -> Tensor:
        with autocast(precision, value.device):
            return run(value)

    return run_under_autocast
