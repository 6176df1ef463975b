"""mnist_fast.bench.statistics: estimates and their intervals, against distributions whose answer is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mnist_fast.bench.statistics import Estimate, Speedup, Visits, mean, speedup

TRIALS = 150
VISITS, ROUNDS = 6, 12


def one_visit(seconds: list[float]) -> Visits:
    return [seconds]


def load(generator: np.random.Generator, *, drift: float, jitter: float) -> np.ndarray:
    """(visits, rounds): how much a mode is disturbed, as a logarithm: for a visit, and for single rounds."""
    return generator.normal(0, drift, (VISITS, 1)) + generator.normal(0, jitter, (VISITS, ROUNDS))


def lasting(generator: np.random.Generator, runs: int, *, size: float) -> np.ndarray:
    """(runs, visits, rounds) of 1/f noise: disturbances of all durations, from a round to many runs."""
    frequencies = np.fft.rfftfreq(16 * runs * VISITS * ROUNDS)
    phases = generator.normal(size=len(frequencies)) + 1j * generator.normal(size=len(frequencies))
    noise = np.fft.irfft(phases / np.sqrt(np.maximum(frequencies, frequencies[1])))
    apart = noise.reshape(runs, 4, VISITS, 4, ROUNDS)[:, 0, :, 0]  # the rest passes between visits and between runs
    return size * apart / noise.std()


def ratio_of_two(stock: np.ndarray, fused: np.ndarray) -> Speedup:
    """The estimate of a ratio that is 2 when nothing is disturbed."""
    return speedup([(2 * np.exp(stock)).tolist()], np.exp(fused).tolist())


def repeated(estimates: list[Speedup]) -> float:
    """How often a run finds its ratio in the interval of the run before."""
    return float(np.mean([first.low <= second.value <= first.high for first, second in pairwise(estimates)]))


def width(estimates: list[Speedup]) -> float:
    """Half of it, relative, of the middle interval."""
    return float(np.median([(estimate.high - estimate.low) / 2 / estimate.value for estimate in estimates]))


def test_a_ratio_of_medians() -> None:
    assert speedup([one_visit([4.0, 6.0, 8.0])], one_visit([3.0, 2.0, 1.0])).value == 3.0
    assert speedup([[[4.0], [6.0, 9.0, 9.5]]], [[1.0], [2.0, 4.0, 5.0]]).value == 7.5 / 3  # of all samples alike


def test_the_fastest_reference_counts() -> None:
    references = [[[seconds] * 3] * 2 for seconds in (4.0, 2.0, 8.0)]
    found = speedup(references, [[1.0] * 3] * 2)
    assert (found.value, found.low, found.high, found.error) == pytest.approx((2.0, 2.0, 2.0, 0.0))


def test_one_visit_has_no_interval() -> None:
    assert speedup([one_visit([2.0, 2.0])], one_visit([1.0, 1.0])) == Speedup(2.0)
    assert mean([0.5]) == Estimate(0.5, None, None)


def test_the_same_samples_give_the_same_interval() -> None:
    generator = np.random.default_rng(1)
    stock, fused = (load(generator, drift=0.1, jitter=0.1) for _ in range(2))
    assert ratio_of_two(stock, fused) == ratio_of_two(stock, fused)


@pytest.mark.parametrize("jitter", [0.0, 0.01, 0.1])
def test_a_repetition_lies_in_the_interval_where_visits_differ(jitter: float) -> None:
    generator = np.random.default_rng(2)
    modes = [[load(generator, drift=0.1, jitter=jitter) for _ in range(2)] for _ in range(TRIALS)]
    estimates = [ratio_of_two(*mode) for mode in modes]
    assert repeated(estimates) >= 0.93
    assert width(estimates) < 5 * 0.1


def test_without_drift_the_interval_is_that_of_a_round() -> None:
    generator = np.random.default_rng(3)
    modes = [[load(generator, drift=0, jitter=0.01) for _ in range(2)] for _ in range(TRIALS)]
    estimates = [ratio_of_two(*mode) for mode in modes]
    assert repeated(estimates) >= 0.95
    assert width(estimates) < 5 * 0.01


def test_a_repetition_lies_in_the_interval_where_disturbances_last() -> None:
    """As long as a run and longer: an interval from the spread of the visits alone would hold three of four."""
    generator = np.random.default_rng(4)
    stock, fused = (lasting(generator, TRIALS, size=0.1) for _ in range(2))
    estimates = [ratio_of_two(*mode) for mode in zip(stock, fused, strict=True)]
    assert repeated(estimates) >= 0.9
    assert width(estimates) < 5 * 0.1


def test_few_visits_promise_no_more() -> None:
    generator = np.random.default_rng(5)
    modes = [[load(generator, drift=0.1, jitter=0)[:2, :1] for _ in range(2)] for _ in range(TRIALS)]
    assert repeated([ratio_of_two(*mode) for mode in modes]) >= 0.9


def test_a_load_that_meets_whole_visits_widens_nothing() -> None:
    generator = np.random.default_rng(6)
    common = load(generator, drift=0.3, jitter=0.1)
    stock, fused = (common + load(generator, drift=0.01, jitter=0.01) for _ in range(2))
    assert 3 * ratio_of_two(stock, fused).error < ratio_of_two(stock, fused[::-1]).error


def test_more_samples_make_the_error_smaller_but_average_no_lasting_load() -> None:
    generator = np.random.default_rng(7)
    stock, fused = generator.normal(0, 0.1, (2, VISITS, 50 * ROUNDS))
    few, many = ratio_of_two(stock[:, :ROUNDS], fused[:, :ROUNDS]), ratio_of_two(stock, fused)
    assert many.error < few.error / 2
    assert width([many]) > width([few]) / 2


def test_samples_of_whole_runs_are_averaged() -> None:
    """Visits of one sample, as speedrun has them, know nothing of rounds: there the visits decide."""
    generator = np.random.default_rng(8)
    few, many = (ratio_of_two(*generator.normal(0, 0.1, (2, count, 1))) for count in (6, 100))
    assert width([many]) < width([few]) / 3


def test_the_mean_has_students_interval() -> None:
    estimate = mean([1.0, 2.0, 3.0])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2.0, -0.484138, 4.484138), abs=1e-6)
    assert mean([1.0, 1.0]) == Estimate(1.0, 1.0, 1.0)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    estimates = [mean(list(generator.normal(0.99, 0.001, 8))) for _ in range(1000)]
    covered = np.mean([estimate.low <= 0.99 <= estimate.high for estimate in estimates])
    assert covered == pytest.approx(0.95, abs=0.025)
