"""Real operands: errors against float64 stay within a few roundings of the sums they come from."""

from __future__ import annotations

import pytest
import torch
from cases import ALL, Block, normals
from oracle import ISAS, Results, fused, isa, magnitudes, run, stock, threads

UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}  # unit roundoff u


def assert_close(got: Results, expected: Results, bounds: Results, dtype: torch.dtype) -> None:
    for name, value in got.items():
        error = (value.double() - expected[name]).abs()
        allowed = 16 * UNIT[dtype] * bounds[name] + 1e-300
        worst = float((error / allowed).max()) if error.numel() else 0.0
        assert worst <= 1, f"{name}: error {worst:.2f} times the bound of 16 u sum|ab|"
        if dtype == torch.float32 and float(expected[name].norm()) > 0:
            relative = float(error.norm() / expected[name].norm())
            assert relative <= 5e-6, f"{name}: relative error {relative:.2e}"


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_float32(case: Block, name: str) -> None:
    tensors = normals(case, 4)
    with isa(name):
        got = run(fused, case, tensors, torch.float32)
    assert_close(got, run(stock, case, tensors, torch.float64), magnitudes(case, tensors), torch.float32)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_float64(case: Block) -> None:
    tensors = normals(case, 4, torch.float64)
    got, expected = run(fused, case, tensors, torch.float64), run(stock, case, tensors, torch.float64)
    for name, value in got.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_thread_counts_and_repeats_change_no_bit(case: Block) -> None:
    tensors = normals(case, 9)
    first = run(fused, case, tensors, torch.float32)
    for count in (1, 2, 3, 8):
        with threads(count):
            again = run(fused, case, tensors, torch.float32)
        for name, value in first.items():
            assert torch.equal(value, again[name]), f"{name} differs with {count} threads"
