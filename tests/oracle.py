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
from mnist_fast.ops.codes import unpack_codes

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


def picks(case: Block, tensors: Tensors, dtype: torch.dtype) -> Tensor:
    """Which position of the convolution's output, counted row by row, the kernel picked for each pooled value; −1 where
    ReLU lets nothing through. Rounding decides between nearly equal ones, so that float64 may pick another.
    """
    stride = case.pool_stride or case.pool_size
    t = tensors.leaves(dtype)
    with torch.no_grad():
        y, code = torch.ops.mnist_fast.conv_relu_maxpool2d_forward(
            t.x, t.w, t.b, case.stride, case.padding, case.relu, case.pool_size, stride,
            contiguous_output=False, with_code=True,
        )  # fmt: skip
    code = unpack_codes(code, y.shape)
    conv_w = (case.w + 2 * case.padding[1] - case.k[1]) // case.stride[1] + 1
    row = torch.arange(code.shape[2]).view(-1, 1) * stride[0] + code // case.pool_size[1]
    column = torch.arange(code.shape[3]) * stride[1] + code % case.pool_size[1]
    return torch.where(code == 255, -1, row * conv_w + column)


def evaluate(case: Block, tensors: Tensors, picked: Tensor) -> Results:
    """Output and gradients in float64, the gradients through the positions that were picked."""
    t = tensors.leaves(torch.float64)
    grad_conv = torch.zeros_like(F.conv2d(t.x, t.w, None, case.stride, case.padding))
    grad_conv.flatten(2).scatter_add_(2, picked.flatten(2).clamp(min=0), torch.where(picked < 0, 0, t.g).flatten(2))
    leaves = [leaf for leaf in (t.x, t.w, t.b) if leaf is not None]
    grads = torch.autograd.grad(F.conv2d(t.x, t.w, t.b, case.stride, case.padding), leaves, grad_conv)
    output = stock(t.x, t.w, t.b, case).detach()
    return dict(zip(("output", "grad_input", "grad_weight", "grad_bias"), (output, *grads), strict=False))


def magnitudes(case: Block, tensors: Tensors, picked: Tensor) -> Results:
    """For each result the sum of absolute products behind each element: an error of u times it is one rounding."""
    return evaluate(case, tensors.map(torch.abs), picked)


def assert_picks(case: Block, tensors: Tensors, picked: Tensor, tolerance: Tensor) -> None:
    """What was picked is the window's maximum, or 0 where ReLU blocks it, within the tolerance of each output."""
    t = tensors.leaves(torch.float64)
    with torch.no_grad():
        conv = F.conv2d(t.x, t.w, t.b, case.stride, case.padding)
        value = conv.flatten(2).gather(2, picked.flatten(2).clamp(min=0)).view_as(picked)
        value = torch.where(picked < 0, 0, value)
        missed = (value - stock(t.x, t.w, t.b, case)).abs() > 2 * tolerance
    assert not bool(missed.any()), f"{int(missed.sum())} of {missed.numel()} windows have another winner"


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
def winograd(on: bool) -> Iterator[None]:
    """Whether Winograd's algorithm serves where it is faster, or the direct one everywhere."""
    assert library.core is not None
    library.core.set_winograd(on)
    try:
        yield
    finally:
        library.core.set_winograd(True)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


ISAS = library.core.available_isas() if library.core is not None else []
