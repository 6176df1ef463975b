"""The same call gives the same bits: again, on any number of threads, beside other threads, on memory used before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from cases import ALL, KINDS, Block, normals, small
from oracle import ISAS, Results, fused, isa, run, threads


def differences(got: Results, expected: Results) -> list[str]:
    return [name for name, value in got.items() if not torch.equal(value, expected[name])]


@pytest.mark.parametrize("case", KINDS, ids=str)
def test_repeats(case: Block) -> None:
    tensors = normals(case, 9)
    first = run(fused, case, tensors, torch.float32)
    with threads(4):
        for repeat in range(250):
            assert not differences(run(fused, case, tensors, torch.float32), first), f"repeat {repeat}"


@pytest.mark.parametrize("name", ISAS[:-1])  # the last, the reference, runs on one thread
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("case", ALL, ids=str)
def test_thread_counts(case: Block, n: int, dtype: torch.dtype, name: str) -> None:
    tensors = normals(case, n)
    with isa(name):
        first = run(fused, case, tensors, dtype)
        for count in (1, 2, 3, 4, 8):
            with threads(count):
                assert not differences(run(fused, case, tensors, dtype), first), f"{count} threads"


def test_python_threads_do_not_disturb_each_other() -> None:
    problems = [(case, normals(case, 3)) for case in KINDS]
    expected = [run(fused, case, tensors, torch.float32) for case, tensors in problems]

    def work(worker: int) -> list[str]:
        wrong = []
        for call in range(200):
            case, tensors = problems[(worker + call) % len(problems)]
            got = run(fused, case, tensors, torch.float32)
            wrong += differences(got, expected[(worker + call) % len(problems)])
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(work, range(8)))


def larger(case: Block) -> Block:
    return replace(case, c=case.c + 9, h=case.h + 7, w=case.w + 5, o=case.o + 17)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("case", ALL, ids=str)
def test_nothing_is_left_of_an_earlier_call(case: Block, dtype: torch.dtype, name: str) -> None:
    """Kernels keep their working memory: NaN of a larger problem must not come back in a smaller one."""
    case = small(case)
    tensors, other = normals(case, 3), normals(larger(case), 3)
    poison = other.map(lambda t: torch.full_like(t, torch.nan))
    with isa(name):
        first, large = run(fused, case, tensors, dtype), run(fused, larger(case), other, dtype)
        for count in (2, 8):
            with threads(count):
                run(fused, larger(case), poison, dtype)
                assert not differences(run(fused, case, tensors, dtype), first)
                run(fused, larger(case), poison, dtype)
                assert not differences(run(fused, larger(case), other, dtype), large)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_element_is_written(case: Block) -> None:
    """Under the deterministic flag torch fills fresh memory with NaN."""
    tensors = normals(case, 3)
    torch.use_deterministic_algorithms(True)
    try:
        got = run(fused, case, tensors, torch.float32)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(bool(value.isfinite().all()) for value in got.values())
