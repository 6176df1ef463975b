"""mnist_fast.bench.crowd: others on the cores are waited for, and what they spoil is measured again, for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mnist_fast.bench import crowd as module
from mnist_fast.bench import noise, timing
from mnist_fast.bench.crowd import FIRST_PATIENCE, LIMIT, PAUSE, Crowd

QUIET, BUSY = 1.0, LIMIT + 0.1


class Time:
    """A clock that only sleep moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def _time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", Time())


def crowd_of(*looks: float) -> Crowd:
    """One that finds these times in turn, the last one from then on; it has seen a quiet moment."""
    values: Iterator[float] = iter((QUIET, *looks))
    last = looks[-1]
    return Crowd(lambda: next(values, last))


def test_nobody_there() -> None:
    crowd = crowd_of(QUIET, LIMIT * QUIET)
    crowd.wait()
    assert not crowd.spoils(1.0)
    assert (crowd.rounds, crowd.crowded, crowd.slept) == (1, 0, 0.0)


def test_the_shortest_time_is_that_of_a_quiet_moment() -> None:
    crowd = crowd_of(0.5, QUIET)
    assert not crowd.is_here()
    assert crowd.is_here()


def test_it_is_waited_for() -> None:
    crowd = crowd_of(BUSY, BUSY, QUIET)
    crowd.wait()
    assert crowd.slept == pytest.approx(2 * PAUSE)


def test_patience_ends() -> None:
    crowd = crowd_of(BUSY)
    crowd.wait()
    assert crowd.slept == pytest.approx(FIRST_PATIENCE, abs=PAUSE)
    assert not crowd.spoils(1.0)
    assert (crowd.rounds, crowd.crowded) == (1, 1)


def test_measuring_earns_patience_and_spoilt_rounds_cost_it() -> None:
    crowd = crowd_of(BUSY)
    assert crowd.spoils(FIRST_PATIENCE)
    assert not crowd.spoils(2.0)
    assert crowd.spoils(2.0)
    assert not crowd.spoils(1.0)
    assert (crowd.rounds, crowd.crowded) == (2, 2)


def test_a_spoilt_round_is_left_out_for_all_and_taken_again() -> None:
    crowd = crowd_of(QUIET, BUSY, QUIET)  # the second look is behind the first round
    costs = iter([1.0, 7.0] * 2 + [1.0, 2.0] * 10)
    samples = timing.interleave(
        {"a": lambda: None, "b": lambda: None},
        lambda _call, _number: next(costs),
        budget=0.0,
        at_least=2,
        numbers={"a": 1, "b": 1},
        crowd=crowd,
    )
    assert samples == {"a": [2.0, 2.0], "b": [2.0, 2.0]}
    assert crowd.rounds == 2


def test_the_share_of_crowded_rounds() -> None:
    quiet, busy = crowd_of(QUIET), crowd_of(BUSY)
    busy.wait()
    for _ in range(3):
        assert not quiet.spoils(1.0)
    assert not busy.spoils(0.0)
    assert noise.crowded_fraction([quiet, busy]) == 0.25
    assert noise.crowded_fraction([None]) is None


def test_the_arithmetic_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    arithmetic = module._product()
    assert 0 < arithmetic() < 1
