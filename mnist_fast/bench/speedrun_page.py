"""The page of ``mnist-fast speedrun --report``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnist_fast.bench import charts
from mnist_fast.bench.contest import ENTRANTS
from mnist_fast.bench.page import figure, page, table
from mnist_fast.bench.rows import in_words

_PARTS = ("setup", "steps", "test")


def speedrun_page(report: Mapping[str, Any]) -> bytes:
    """The page of a report of ``speedrun`` as JSON."""
    rows, machine = report["results"], report["environment"]
    drawn = [
        figure(
            "Seconds of a run",
            "Median from the initialisation of the network to the last test prediction; from dark to light the shares "
            "of setup (a sliver), training steps and test pass.",
            charts.parts([_bar(row) for row in rows], "s"),
            {"fused": "fused blocks", "stock": "stock PyTorch"},
        ),
        figure(
            "Accuracy",
            "Mean over the seeds, with its 95% interval; line: 99%.",
            charts.intervals([_columns(row, "accuracy", "accuracy") for row in rows], 0.99, "{:.2%}", "{:.2%}"),
        ),
    ]
    compared = [_columns(row, "ratio_vs_best_stock", "ratio") for row in rows if row["ratio_vs_best_stock"] is not None]
    if compared:
        caption = "How many times as fast as the published recipe with stock PyTorch at its best, with 95% intervals."
        drawn.append(figure("Against the published recipe", caption, charts.intervals(compared, 1, "{:.2f}x", "{:g}x")))
    seeds = sorted({run["seed"] for run in report["runs"]})
    lines = [
        [
            row["mode"],
            row["arch"],
            f"{row['median_ms'] / 1000:.3f}",
            f"{row['p5_ms'] / 1000:.3f}–{row['p95_ms'] / 1000:.3f}",
            *(f"{row[f'{part}_ms'] / 1000:.3f}" for part in _PARTS),
            f"{row['accuracy']:.3%}",
            "-" if row["accuracy_low"] is None else f"{row['accuracy_low']:.3%}–{row['accuracy_high']:.3%}",
            "-" if row["ratio_vs_best_stock"] is None else f"{row['ratio_vs_best_stock']:.2f}x",
        ]
        for row in rows
    ]
    head = ["mode", "network", "median s", "p5–p95", *_PARTS, "mean accuracy", "95%", "vs best stock"]
    runs = [
        [str(run["seed"]), run["mode"], f"{run['seconds']:.3f}", f"{run['accuracy']:.2%}"] for run in report["runs"]
    ]
    return page(
        report,
        title="99% on MNIST, from nothing to the last prediction",
        subtitle=f"{report['dataset']}, {len(seeds)} runs of each mode, seeds {seeds[0]} to {seeds[-1]}; "
        f"{in_words(machine['threads'])} on {machine['gpu'] or machine['cpu']}; {machine['date'][:10]}",
        charts=drawn,
        tables=[table("Modes", head, lines), table("Every run, in order", ["seed", "mode", "s", "accuracy"], runs)],
        reading=(
            "eager and channels_last train the published network by its recipe with stock PyTorch; fused trains ours "
            "with fused blocks. fused_anchor is the published recipe with fused blocks, stock_ours ours with stock.",
            f"The time of a run includes {report['included']}.",
            f"It does not include {report['not_included']}.",
            "The accuracy is the mean over the seeds with Student's 95% interval. The ratio's interval, a bootstrap "
            "over the seeds, is where the same command on the same machine finds it again in 19 of 20 cases.",
        ),
    )


def _bar(row: Mapping[str, Any]) -> tuple[str, str, list[float]]:
    """The median time in the proportions of its parts' medians, which need not add up to it."""
    medians = [row[f"{part}_ms"] for part in _PARTS]
    kind = "fused" if ENTRANTS[row["mode"]].fused else "stock"
    return row["mode"], kind, [median / sum(medians) * row["median_ms"] / 1000 for median in medians]


def _columns(row: Mapping[str, Any], value: str, interval: str) -> tuple[str, float, float | None, float | None]:
    return row["mode"], row[value], row[f"{interval}_low"], row[f"{interval}_high"]
