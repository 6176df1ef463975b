"""mnist_fast.bench.visits: how the rounds of a comparison are spread, on clocks that the test turns."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from mnist_fast.bench import noise, runner, timing
from mnist_fast.bench.config import BenchConfig
from mnist_fast.bench.runner import run_bench
from mnist_fast.bench.visits import FIRST_LOOK, VISITS, Visits

CALLS = {name: lambda name=name: name for name in "ab"}


def clock(**costs: float) -> Callable[[Callable[[], object], int], float]:
    return lambda call, number: number * costs[str(call())]


def measured(seconds: float, **options: float) -> list[int]:
    """The number of rounds of each visit, where one takes so many seconds."""
    comparison = Visits("ab", **options)
    for number in range(VISITS):
        comparison.visit(number, CALLS, clock(a=seconds / 2, b=seconds / 2))
    samples = comparison.samples
    assert [len(visit) for visit in samples["a"]] == [len(visit) for visit in samples["b"]]
    return [len(visit) for visit in samples["a"]]


@pytest.mark.parametrize("repeats", [1, 2, 6, 8, 100])
def test_repeats_are_kept_and_spread_evenly(repeats: int) -> None:
    comparison = Visits("ab", budget=4, repeats=repeats)
    rounds = [comparison.rounds(number) for number in range(VISITS)]
    assert sum(rounds) == repeats
    assert rounds[0] >= 1
    assert max(rounds) - min(rounds) <= 1
    assert measured(100.0, budget=4, repeats=repeats) == rounds


def test_a_budget_is_spread_evenly() -> None:
    rounds = measured(0.1, budget=VISITS)
    assert sum(rounds) == pytest.approx(5 * VISITS, abs=1)  # half of it goes into the calls ahead of samples
    assert max(rounds) - min(rounds) <= 2


def test_long_rounds_take_no_more_than_the_least_number() -> None:
    assert sum(measured(100.0, budget=1)) == timing.MIN_ROUNDS


def test_short_rounds_end_too() -> None:
    assert sum(measured(2 * timing.SAMPLE_SECONDS, budget=1e9)) <= timing.MAX_ROUNDS


def test_turns_go_on_from_visit_to_visit() -> None:
    order: list[str] = []

    def noted(call: Callable[[], object], number: int) -> float:
        order.append(str(call()))
        return number * 1.0

    comparison = Visits("ab", budget=1, repeats=VISITS)
    for number in range(VISITS):
        comparison.visit(number, CALLS, noted)
    rounds = [order[first : first + 4] for first in range(2, len(order), 4)]  # the first two calibrate
    assert rounds == [list("aabb"), list("bbaa")] * (VISITS // 2)


CONFIG = BenchConfig(
    archs=("speedrun", "lenet"), batch_sizes=(1,), device="cpu", modes=("eager", "fused"), passes=("inference",),
    layers=False, budget=1e-9,
)  # fmt: skip


def test_all_comparisons_are_visited_before_any_is_visited_again() -> None:
    lines: list[str] = []
    run_bench(CONFIG, lines.append)
    archs = [line.split(",")[0] for line in lines if "visit" in line]
    assert archs == ["speedrun", "lenet"] * VISITS


def test_a_comparison_that_is_known_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "narrow", lambda samples, stock: stock == ["eager"] and len(samples["fused"]) >= 2)
    lines: list[str] = []
    report = run_bench(CONFIG, lines.append)
    assert sum("visit" in line for line in lines) == 2 * FIRST_LOOK
    assert all(row["ratio_low"] is not None for row in report.results)


def test_narrow_is_about_what_more_visits_would_change() -> None:
    """Single rounds may differ by a half: it is the spread of the visits that counts."""
    steady = [[1.0, 2.0, 3.0]] * VISITS
    moving = [[1.0, 2.0, 3.0], [1.5, 2.5, 3.5]] * (VISITS // 2)
    fused = [[1.0, 1.0, 1.0]] * VISITS
    assert noise.narrow({"eager": steady, "fused": fused}, ["eager"])
    assert not noise.narrow({"eager": moving, "fused": fused}, ["eager"])


def test_memory_lies_elsewhere_at_each_visit(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses: dict[str, list[int]] = {}
    prepare = runner.passes.prepare

    def noted(name: str, subject: runner.Subject, arch: str) -> Callable[[], object]:
        addresses.setdefault(f"{arch} {subject.mode}", []).append(subject.input.data_ptr())
        return prepare(name, subject, arch)

    monkeypatch.setattr(runner.passes, "prepare", noted)
    run_bench(CONFIG)
    assert len(addresses) == 4
    for seen in addresses.values():
        assert all(first != second for first, second in pairwise(seen))
