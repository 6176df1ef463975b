"""Results of a benchmark, made up, and those that are recorded, for tests of what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mnist_fast.bench.environment import environment
from mnist_fast.bench.runner import BenchReport

RESULTS = sorted((Path(__file__).resolve().parent.parent / "bench/results").glob("*p*[26].json"))


def row(ratio: float | None = 2.0, error: float | None = 0.1, **changed: Any) -> dict[str, Any]:
    known = ratio is not None and error is not None
    return {
        "arch": "cnn", "layer": "network", "mode": "fused", "pass": "step", "batch_size": 64, "precision": "fp32",
        "device": "cpu", "threads": 2, "median_ms": 10.0, "p5_ms": 9.0, "p95_ms": 11.0, "repeats": 9,
        "images_per_second": 6400.0, "peak_bytes": 100, "ratio_vs_best_stock": ratio,
        "ratio_low": ratio - error if known else None, "ratio_high": ratio + error if known else None, **changed,
    }  # fmt: skip


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    return BenchReport(environment(torch.device("cpu")), list(rows)).to_json()
