"""mnist_fast.bench.statistics: estimates and their intervals, against distributions whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_fast.bench.statistics import Estimate, mean, speedup

TRIALS = 200


def rounds(count: int, seed: int, *, common: float = 0.1, persistence: float = 0.0) -> tuple[list[float], list[float]]:
    """Seconds of a stock and of a fused call, true ratio 2, in rounds whose common load goes on into the next ones."""
    generator = np.random.default_rng(seed)
    load = np.zeros(count)
    for number, shock in enumerate(generator.normal(0, common, count)):
        load[number] = persistence * load[number - 1] + shock if number else shock
    own = generator.normal(0, 0.02, (2, count))
    return list(2 * np.exp(load + own[0])), list(np.exp(load + own[1]))


def coverage(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


def test_a_ratio_of_medians() -> None:
    assert speedup([[4.0, 6.0, 8.0]], [3.0, 2.0, 1.0]).value == 3.0


def test_the_fastest_reference_counts() -> None:
    assert speedup([[4.0] * 3, [2.0] * 3, [8.0] * 3], [1.0] * 3) == Estimate(2.0, 2.0, 2.0)


def test_one_round_has_no_interval() -> None:
    assert speedup([[2.0]], [1.0]) == Estimate(2.0, None, None)
    assert mean([0.5]) == Estimate(0.5, None, None)
    assert mean([0.5]).relative_error is None


def test_the_same_samples_give_the_same_interval() -> None:
    stock, fused = rounds(30, 1)
    assert speedup([stock], fused) == speedup([stock], fused)


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    estimates = [speedup([stock], fused) for stock, fused in (rounds(40, seed, common=0) for seed in range(TRIALS))]
    assert 0.88 <= coverage([e.low <= 2 <= e.high for e in estimates]) <= 0.99


def test_a_load_that_meets_a_whole_round_widens_nothing() -> None:
    stock, fused = rounds(40, 3)
    shuffled = np.random.default_rng(0).permutation(fused).tolist()
    assert 3 * speedup([stock], fused).relative_error < 1.5 * speedup([stock], shuffled).relative_error


def test_what_disturbs_both_alike_makes_no_interval_too_narrow() -> None:
    estimates = [speedup([stock], fused) for stock, fused in (rounds(40, seed) for seed in range(TRIALS))]
    assert coverage([e.low <= 2 <= e.high for e in estimates]) >= 0.9


def test_lasting_load_on_one_mode_is_not_taken_for_many_independent_rounds() -> None:
    """A mode that slows for some rounds on end: intervals of independent rounds would cover in less than 7 of 10."""

    def estimate(seed: int) -> Estimate:
        disturbed, _ = rounds(200, seed, persistence=0.7)
        return speedup([disturbed], [1.0] * 200)

    assert coverage([e.low <= 2 <= e.high for e in map(estimate, range(TRIALS))]) >= 0.8


def test_an_interval_is_narrower_with_more_rounds() -> None:
    few, many = (speedup([stock], fused) for stock, fused in (rounds(20, 5), rounds(500, 5)))
    assert many.relative_error < few.relative_error / 2


def test_the_mean_has_students_interval() -> None:
    estimate = mean([1.0, 2.0, 3.0])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2.0, -0.484138, 4.484138), abs=1e-6)
    assert mean([1.0, 1.0]).relative_error == 0


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    estimates = [mean(list(generator.normal(0.99, 0.001, 8))) for _ in range(1000)]
    assert coverage([e.low <= 0.99 <= e.high for e in estimates]) == pytest.approx(0.95, abs=0.025)
