"""What results are compared with: stock operators in float64, and error bounds that follow from the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from cases import Block, Tensors
from torch import Tensor

import mnist_fast
from mnist_fast.ops import library

Results = dict[str, Tensor]


def stock(x: Tensor, w: Tensor, b: Tensor | None, case: Block) -> Tensor:
    """The definition, spelt out here on purpose instead of taken from the package."""
    y = F.conv2d(x, w, b, case.stride, case.padding)
    if case.relu:
        y = F.relu(y)
    if case.pool_size == (1, 1) and case.pool_stride in (None, (1, 1)):
        return y
    return F.max_pool2d(y, case.pool_size, case.pool_stride)


def fused(x: Tensor, w: Tensor, b: Tensor | None, case: Block) -> Tensor:
    """The package's function, which must take its kernel."""
    return mnist_fast.conv_relu_maxpool2d(x, w, b, **case.options, backend="fused")


Function = Callable[[Tensor, Tensor, Tensor | None, Block], Tensor]


def run(function: Function, case: Block, tensors: Tensors, dtype: torch.dtype) -> Results:
    """Output and all gradients."""
    t = tensors.leaves(dtype)
    y = function(t.x, t.w, t.b, case)
    y.backward(t.g)
    results = {"output": y.detach(), "grad_input": t.x.grad, "grad_weight": t.w.grad}
    if t.b is not None:
        results["grad_bias"] = t.b.grad
    return {name: value for name, value in results.items() if value is not None}


def assert_equal(got: Results, expected: Results, where: str = "") -> None:
    """Equal as numbers (−0 equals 0), NaN where NaN is expected; ``where`` is told on failure."""
    assert got.keys() == expected.keys(), where
    for name, value in got.items():
        shapes = f"{tuple(value.shape)} != {tuple(expected[name].shape)}"
        assert value.shape == expected[name].shape, f"{name}: {shapes} {where}"
        same = (value.double() == expected[name].double()) | (value.isnan() & expected[name].isnan())
        assert bool(same.all()), f"{name}: {int((~same).sum())} of {same.numel()} elements differ {where}"


def magnitudes(case: Block, tensors: Tensors) -> Results:
    """For each result the sum of absolute products behind each element: an error of u times it is one rounding."""
    t = tensors.leaves(torch.float64)
    y = stock(t.x, t.w, t.b, case)
    y.backward(t.g)
    bounds = Tensors(t.x.detach().abs(), t.w.detach().abs(), None if t.b is None else t.b.detach().abs(), t.g.abs())
    conv = F.conv2d(bounds.x, bounds.w, bounds.b, case.stride, case.padding)
    results = {"output": F.max_pool2d(conv, case.pool_size, case.pool_stride)}
    with torch.no_grad():
        scattered = _pre_pool_gradient(case, tensors).abs()
    x, w = bounds.x.requires_grad_(), bounds.w.requires_grad_()
    results["grad_input"], results["grad_weight"] = torch.autograd.grad(
        F.conv2d(x, w, None, case.stride, case.padding), (x, w), scattered
    )
    if t.b is not None:
        results["grad_bias"] = scattered.sum((0, 2, 3))
    return results


def _pre_pool_gradient(case: Block, tensors: Tensors) -> Tensor:
    with torch.enable_grad():
        conv = F.conv2d(
            tensors.x.double(), tensors.w.double(), None if tensors.b is None else tensors.b.double(), case.stride,
            case.padding,
        ).detach().requires_grad_()  # fmt: skip
        y = F.relu(conv) if case.relu else conv
        y = F.max_pool2d(y, case.pool_size, case.pool_stride)
        (gradient,) = torch.autograd.grad(y, conv, tensors.g.double())
    return gradient


@contextmanager
def isa(name: str) -> Iterator[None]:
    """Kernels of one instruction set."""
    assert library.core is not None
    before = library.core.active_isa()
    library.core.set_isa(name)
    try:
        yield
    finally:
        library.core.set_isa(before)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


ISAS = library.core.available_isas() if library.core is not None else []
