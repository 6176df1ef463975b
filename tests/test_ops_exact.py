"""Integer operands: every sum is exact, so kernels and float64 must agree to the bit, on every path and any threads."""

from __future__ import annotations

import random

import pytest
import torch
from cases import ALL, REFERENCE, Block, any_block, integers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import ISAS, assert_equal, fused, isa, run, stock, threads, winograd


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", ALL, ids=str)
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16], ids=["float32", "float64", "bfloat16"]
)
def test_every_shape_on_every_instruction_set(case: Block, name: str, dtype: torch.dtype) -> None:
    """bfloat16 holds fewer integers: each result is rounded once, at the end."""
    tensors = integers(case, 3)
    expected = {result: value.to(dtype) for result, value in run(stock, case, tensors, torch.float64).items()}
    with isa(name):
        assert_equal(run(fused, case, tensors, dtype), expected)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", [case for case in ALL if case.k == (3, 3)], ids=str)
def test_the_direct_algorithm_where_winograd_would_serve(case: Block, name: str) -> None:
    tensors = integers(case, 3)
    expected = run(stock, case, tensors, torch.float64)
    with isa(name), winograd(False):
        assert_equal(run(fused, case, tensors, torch.float32), expected)


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


def check_on_every_path(case: Block, n: int) -> None:
    tensors = integers(case, n)
    expected = run(stock, case, tensors, torch.float64)
    for count in (1, 2, 3, 4, 8):
        with threads(count):
            for name in ISAS if count == 1 else ISAS[:-1]:  # the last, the reference, runs on one thread
                with isa(name):
                    got = run(fused, case, tensors, torch.float32)
                assert_equal(got, expected, f"{name}, {count} threads, batch {n}, {case!r}")


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(10, 400))])
def test_random_shapes(seed: int) -> None:
    """50 shapes each: 500 by default, 20,000 in the long mode."""
    source = random.Random(seed)
    for _ in range(50):
        torch.manual_seed(source.randrange(2**31))
        check_on_every_path(*any_block(source.choice))


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_shapes_that_shrink(data: st.DataObject) -> None:
    """Where a shape fails, the smallest one that does is reported."""
    torch.manual_seed(0)
    check_on_every_path(*any_block(lambda choices: data.draw(st.sampled_from(choices))))
