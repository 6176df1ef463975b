"""The columns of a row of results that come from its samples, the same for whatever was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mnist_fast.bench.statistics import Samples, speedup
from mnist_fast.bench.timing import Statistics

Row = dict[str, Any]


def timing_columns(seconds: Samples, stock: Sequence[Samples], images: float) -> Row:
    """``median_ms p5_ms p95_ms repeats images_per_second ratio_vs_best_stock ratio_low ratio_high``.

    Args:
        seconds: a sample for each round.
        stock: the samples of the stock modes that ran in the same rounds; without any there is no ratio.
        images: that one call takes.
    """
    measured = Statistics.of(list(seconds))
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
