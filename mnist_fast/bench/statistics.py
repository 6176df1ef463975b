"""What samples say: ratios of medians and means, with 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 0  # the same samples always give the same interval

Samples = Sequence[float]
Visits = Sequence[Samples]  # the samples of each of several times that something was measured, far from each other


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval; ``low`` and ``high`` are None where nothing shows how far it may err."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Speedup(Estimate):
    """A ratio and the interval in which a repetition of the same measurement finds it with 95% probability.

    Attributes:
        error: by how much of itself more visits like these would still change the ratio, with 95% confidence.
    """

    error: float | None = None


def speedup(references: Sequence[Visits], measured: Visits) -> Speedup:
    """How many times as fast ``measured`` is as the fastest of ``references``, by their medians over all visits.

    Its interval adds up, as the squares of logarithms, two ways for a repetition to find another ratio:

    Visits differ: memory lies elsewhere, neighbours come and go. That gives the ratio a standard error, by a bootstrap
    that draws whole visits, as what disturbs one sample lasts into the next. The fastest reference is chosen anew in
    each resample. Few visits know their spread badly, for which there is Student's factor; and the repetition errs as
    much as this one.

    And what disturbs a visit may last longer than all of them, so that none knows how it is without it. Disturbances
    of all durations are alike (1/f noise is what drifts usually are), so the short ones tell: the repetition may differ
    as much as one round does from another of its visit, however many there are. A visit of one round has nothing to say
    on that.

    Args:
        references: one or more series of seconds.
        measured: seconds; sample i of visit j of every series comes from the same round.
    """
    series = [*references, measured]
    visits = len(measured)
    value = float(_speedups(series, np.ones((1, visits), dtype=np.int64))[0])
    if visits < 2:
        return Speedup(value)
    drawn = np.random.default_rng(_SEED).multinomial(visits, np.full(visits, 1 / visits), size=_RESAMPLES)
    error = np.log(_speedups(series, drawn)).std() * math.sqrt(visits / (visits - 1)) * stats.t.ppf(_UPPER, visits - 1)
    fastest = min(references, key=lambda reference: float(np.median(np.concatenate(reference))))
    factor = math.exp(math.hypot(math.sqrt(2) * error, _scatter(fastest, measured)))
    return Speedup(value, value / factor, value * factor, math.expm1(error))


def mean(values: Samples) -> Estimate:
    """The mean of independent values, with Student's confidence interval."""
    center = float(np.mean(values))
    if len(values) < 2:
        return Estimate(center)
    half = float(stats.sem(values) * stats.t.ppf(_UPPER, len(values) - 1))
    return Estimate(center, center - half, center + half)


_UPPER = (1 + CONFIDENCE) / 2


def _speedups(series: Sequence[Visits], drawn: np.ndarray) -> np.ndarray:
    """For each resample the ratio of the lowest median of all ``series`` but the last to that of the last.

    Args:
        drawn: (resamples, visits) how often each visit is in it.
    """
    medians = np.array([_medians(visits, drawn) for visits in series])
    return medians[:-1].min(axis=0) / medians[-1]


def _medians(visits: Visits, drawn: np.ndarray) -> np.ndarray:
    """The median of each resample's samples."""
    samples = np.concatenate([np.asarray(visit, dtype=np.float64) for visit in visits])
    visit = np.repeat(np.arange(len(visits)), [len(visit) for visit in visits])
    order = samples.argsort()
    below = 2 * drawn[:, visit[order]].cumsum(axis=1)  # twice the number of samples up to each, in ascending order
    count = below[:, -1:] // 2
    middle = samples[order][[(below >= count).argmax(axis=1), (below > count).argmax(axis=1)]]
    return middle.mean(axis=0)


def _scatter(reference: Visits, measured: Visits) -> float:
    """By how much the logarithms of ratios of two rounds of a visit differ in 95% of all pairs; 0 without any."""
    ratios = [np.log(np.divide(*visit)) for visit in zip(reference, measured, strict=True)]
    pairs = [np.abs(np.subtract.outer(visit, visit))[np.triu_indices(len(visit), 1)] for visit in ratios]
    differences = np.concatenate(pairs)
    return float(np.quantile(differences, CONFIDENCE)) if len(differences) else 0.0
