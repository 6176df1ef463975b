"""The columns of a row of results that come from its samples, the same for whatever was measured."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mnist_fast.bench.statistics import Visits, speedup
from mnist_fast.bench.timing import Statistics

Row = dict[str, Any]


def timing_columns(seconds: Visits, stock: Sequence[Visits], images: float) -> Row:
    """``median_ms p5_ms p95_ms repeats images_per_second ratio_vs_best_stock ratio_low ratio_high``.

    Args:
        seconds: the samples of each visit.
        stock: those of the stock modes, from the same visits; without any there is no ratio.
        images: that one call takes.
    """
    measured = Statistics.of(list(itertools.chain.from_iterable(seconds)))
    ratio = speedup(stock, seconds) if stock else None
    return {
        **asdict(measured),
        "images_per_second": 1000 * images / measured.median_ms,
        "ratio_vs_best_stock": ratio and ratio.value,
        "ratio_low": ratio and ratio.low,
        "ratio_high": ratio and ratio.high,
    }


def in_words(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
