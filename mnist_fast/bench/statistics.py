"""What samples say: ratios of medians and means, each with the interval in which it lies at 95% confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 0  # the same samples always give the same interval

Samples = Sequence[float]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% confidence interval; ``low`` and ``high`` are None where there is one sample only."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def relative_error(self) -> float | None:
        """Half the interval's width over the value: 0.01 reads ±1%."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2 / abs(self.value)


def speedup(references: Sequence[Samples], measured: Samples) -> Estimate:
    """How many times as fast ``measured`` is as the fastest of ``references``, by their medians.

    The interval is a percentile bootstrap over rounds. A round keeps its samples together, for they met the same
    neighbours and the same clock frequency. Rounds are drawn in blocks of consecutive ones, for what disturbs one
    lasts into the next: drawn one by one, they would promise an interval that is too narrow. The fastest reference is
    chosen anew in each resample.

    Args:
        references: one or more series of seconds.
        measured: seconds; sample i of every series comes from round i.
    """
    data = np.array([*references, measured], dtype=np.float64)
    value = float(_speedup(data))
    rounds = data.shape[1]
    if rounds < 2:
        return Estimate(value)
    low, high = np.quantile(_speedup(data[:, _resamples(rounds)]), _TAILS)
    return Estimate(value, float(low), float(high))


def mean(values: Samples) -> Estimate:
    """The mean of independent values, with Student's interval."""
    center = float(np.mean(values))
    if len(values) < 2:
        return Estimate(center)
    half = float(stats.sem(values) * stats.t.ppf(_TAILS[1], len(values) - 1))
    return Estimate(center, center - half, center + half)


_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def _speedup(data: np.ndarray) -> np.ndarray:
    """(series, …, rounds), the measured one last, to (…)."""
    medians = np.median(data, axis=-1)
    return medians[:-1].min(axis=0) / medians[-1]


def _resamples(rounds: int) -> np.ndarray:
    """Indices (resamples, rounds) of a circular block bootstrap, blocks as long as the rounds' cube root."""
    block = round(rounds ** (1 / 3))
    starts = np.random.default_rng(_SEED).integers(rounds, size=(_RESAMPLES, -(-rounds // block), 1))
    return ((starts + np.arange(block)) % rounds).reshape(_RESAMPLES, -1)[:, :rounds]
