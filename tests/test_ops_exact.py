"""Integer operands: every sum is exact, so kernels and float64 must agree to the bit, on every path and any threads."""

from __future__ import annotations

import pytest
import torch
from cases import ALL, REFERENCE, Block, integers
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracle import ISAS, assert_equal, fused, isa, run, stock, threads


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", ALL, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_every_shape_on_every_instruction_set(case: Block, name: str, dtype: torch.dtype) -> None:
    tensors = integers(case, 3)
    with isa(name):
        assert_equal(run(fused, case, tensors, dtype), run(stock, case, tensors, torch.float64))


@pytest.mark.parametrize("n", [0, 1, 2, 7, 33])
@pytest.mark.parametrize("case", REFERENCE, ids=str)
def test_batch_sizes(case: Block, n: int) -> None:
    tensors = integers(case, n)
    assert_equal(run(fused, case, tensors, torch.float32), run(stock, case, tensors, torch.float64))


@pytest.mark.parametrize("count", [1, 3, 4, 8])
@pytest.mark.parametrize("case", REFERENCE, ids=str)
def test_thread_counts(case: Block, count: int) -> None:
    tensors = integers(case, 5)
    with threads(count):
        assert_equal(run(fused, case, tensors, torch.float32), run(stock, case, tensors, torch.float64))


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Block, int]:
    k = draw(st.tuples(*[st.sampled_from([1, 2, 3, 5, 7])] * 2))
    pool = draw(st.one_of(st.just((2, 2)), st.tuples(st.integers(1, 4), st.integers(1, 4))))
    case = Block(
        "fuzz",
        c=draw(st.sampled_from([1, 2, 3, 4, 5, 8, 16, 17])),
        h=draw(st.integers(1, 33)),
        w=draw(st.integers(1, 33)),
        o=draw(st.sampled_from([1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64])),
        k=k,
        stride=draw(st.one_of(st.just((1, 1)), st.tuples(st.integers(1, 2), st.integers(1, 2)))),
        padding=(draw(st.integers(0, k[0] - 1)), draw(st.integers(0, k[1] - 1))),
        relu=draw(st.booleans()),
        pool_size=pool,
        pool_stride=draw(st.one_of(st.none(), st.tuples(st.integers(1, 5), st.integers(1, 5)))),
        bias=draw(st.booleans()),
    )
    return case, draw(st.sampled_from([0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 33]))


def check_random_shape(problem: tuple[Block, int], name: str, count: int, seed: int) -> None:
    case, n = problem
    for i, extent in enumerate((case.h, case.w)):
        conv = (extent + 2 * case.padding[i] - case.k[i]) // case.stride[i] + 1
        assume(conv >= case.pool_size[i])
    # The reference path and batches of large layers would take most of the time and add little.
    assume(n * case.c * case.o * case.h * case.w * case.k[0] * case.k[1] < 2e7)
    torch.manual_seed(seed)
    tensors = integers(case, n)
    with isa(name), threads(count):
        got = run(fused, case, tensors, torch.float32)
    assert_equal(got, run(stock, case, tensors, torch.float64))


arguments = given(blocks(), st.sampled_from(ISAS), st.sampled_from([1, 2, 3, 4, 8]), st.integers(0, 2**31))
common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@settings(common, max_examples=500)
@arguments
def test_random_shapes(problem: tuple[Block, int], name: str, count: int, seed: int) -> None:
    check_random_shape(problem, name, count, seed)


@pytest.mark.long
@settings(common, max_examples=20_000)
@arguments
def test_many_random_shapes(problem: tuple[Block, int], name: str, count: int, seed: int) -> None:
    check_random_shape(problem, name, count, seed)
