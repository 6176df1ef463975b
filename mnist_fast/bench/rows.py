"""The columns of a row of results that come from its samples, the same for whatever was measured."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
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


def uncertainty(row: Mapping[str, Any]) -> float | None:
    """Half the width of the interval of the ratio, over the ratio: 0.01 reads ±1%. None without an interval."""
    if row.get("ratio_low") is None:
        return None
    return float((row["ratio_high"] - row["ratio_low"]) / 2 / row["ratio_vs_best_stock"])


def in_percent(value: float) -> str:
    """With no digits for what has no meaning any more."""
    return f"{value:.0%}" if value < 1 else ">100%"


def in_words(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
