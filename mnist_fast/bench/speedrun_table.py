"""The runs of ``mnist-fast speedrun`` for a person to read."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from mnist_fast.bench import noise
from mnist_fast.bench.speedrun import INCLUDED, NOT_INCLUDED
from mnist_fast.bench.table import WIDTH, machine_line

if TYPE_CHECKING:
    from mnist_fast.bench import noise
    from mnist_fast.bench.rows import Row
from mnist_fast.bench.speedrun import SpeedrunReport


def print_speedrun(report: SpeedrunReport, console: Console | None = None) -> None:
    """Print the machine, one line for each mode, and what its times include."""
    console = console or Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(machine_line(report.environment), highlight=False, markup=False)
    seeds = sorted({run.seed for run in report.runs})
    title = f"{report.dataset}, {len(seeds)} runs of each mode, seeds {seeds[0]} to {seeds[-1]}: seconds of a whole run"
    console.print(f"\n{title}", style="bold", highlight=False)
    console.print(_table(report.results))
    notes = (
        "setup, steps and test are medians too; accuracy: mean over the seeds, and its 95% interval; "
        "ratios: and where the same command finds them again with 95% probability.",
        f"Included: {INCLUDED}.",
        f"Not included: {NOT_INCLUDED}.",
    )
    for line in notes:
        console.print(textwrap.fill(line, console.width), highlight=False, markup=False)
    for note in noise.notes(report.environment, report.results):
        console.print(note, highlight=False, markup=False)


def _table(rows: list[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("mode", no_wrap=True)
    table.add_column("network", no_wrap=True)
    for name in ("median", "p5 to p95", "setup", "steps", "test", "accuracy", "vs best stock"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        median, low, high, *parts = (
            f"{row[f'{name}_ms'] / 1000:.3f}" for name in ("median", "p5", "p95", "setup", "steps", "test")
        )
        table.add_row(row["mode"], row["arch"], median, f"{low}–{high}", *parts, _accuracy(row), _ratio(row))
    return table


def _accuracy(row: Row) -> str:
    accuracy, high = row["accuracy"], row["accuracy_high"]
    return f"{accuracy:.2%}" if high is None else f"{accuracy:.3%} ± {100 * (high - accuracy):.3f}"


def _ratio(row: Row) -> str:
    ratio, low, high = (row[name] for name in ("ratio_vs_best_stock", "ratio_low", "ratio_high"))
    if ratio is None:
        return "-"
    return f"{ratio:.2f}x" if low is None else f"{ratio:.2f}x ({low:.2f}–{high:.2f})"
