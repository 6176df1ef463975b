"""Real operands: errors against float64 stay within a few roundings of the sums they come from."""

from __future__ import annotations

import random

import pytest
import torch
from cases import ALL, Block, Tensors, any_block, normals
from oracle import ISAS, assert_picks, evaluate, fused, isa, magnitudes, picks, run, stock
from torch import Tensor

import mnist_fast

UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
NORMWISE = {torch.float32: 5e-6, torch.float64: 1e-12}


def check(case: Block, tensors: Tensors, dtype: torch.dtype) -> None:
    picked = picks(case, tensors, dtype)
    expected, bounds = evaluate(case, tensors, picked), magnitudes(case, tensors, picked)
    assert_picks(case, tensors, picked, 16 * UNIT[dtype] * bounds["output"])
    for name, value in run(fused, case, tensors, dtype).items():
        error = (value.double() - expected[name]).abs()
        worst = float((error / (16 * UNIT[dtype] * bounds[name] + 1e-300)).max()) if error.numel() else 0.0
        assert worst <= 1, f"{name}: error {worst:.2f} times the bound of 16 u sum|ab|, {case!r}"
        if error.numel() == 1:  # a single sum may come out near 0, and has no other that would be near its size
            continue
        allowed = NORMWISE[dtype] * float(expected[name].norm())
        assert float(error.norm()) <= allowed, f"{name}: error {float(error.norm()):.2e} > {allowed:.2e}, {case!r}"


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_float32(case: Block, name: str) -> None:
    with isa(name):
        check(case, normals(case, 4), torch.float32)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_float64(case: Block, name: str) -> None:
    with isa(name):
        check(case, normals(case, 4, torch.float64), torch.float64)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 100))])
@pytest.mark.parametrize("name", ISAS)
def test_random_shapes(name: str, seed: int) -> None:
    source = random.Random(seed)
    torch.manual_seed(seed)
    with isa(name):
        for _ in range(20):
            case, n = any_block(source.choice)
            check(case, normals(case, n), torch.float32)


def ulp(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The distance of two neighbouring numbers of a dtype, at each of the values."""
    smallest = torch.finfo(dtype).tiny
    return 2 * UNIT[dtype] * torch.exp2(values.abs().clamp(min=smallest).log2().floor())


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("case", ALL, ids=str)
def test_half_precision(case: Block, dtype: torch.dtype, name: str) -> None:
    """The output as if rounded once, after sums in float32; gradients at most twice as wrong as stock's."""

    def ours(x: Tensor, w: Tensor, b: Tensor | None, case: Block) -> Tensor:
        return mnist_fast.conv_relu_maxpool2d(x, w, b, **case.options)

    tensors = normals(case, 4).map(lambda t: t.to(dtype).float())
    exact = run(stock, case, tensors, torch.float64)
    with isa(name):
        got = run(ours, case, tensors, dtype)
    assert all(value.dtype == dtype for value in got.values())

    sums = magnitudes(case, tensors, picks(case, tensors, torch.float32))["output"]
    rounded = exact["output"].to(dtype).double()
    excess = (got["output"].double() - rounded).abs() - ulp(rounded, dtype) - 16 * UNIT[torch.float32] * sums
    assert float(excess.max()) <= 0, f"output: {float(excess.max()):.2e} more than one unit in the last place"

    theirs = run(stock, case, tensors, dtype)
    for result in exact.keys() - {"output"}:
        error, reference = (float((value[result].double() - exact[result]).norm()) for value in (got, theirs))
        once = UNIT[dtype] * float(exact[result].norm())
        assert error <= 2 * reference + once, f"{result}: error {error:.2e}, stock operators {reference:.2e}"
