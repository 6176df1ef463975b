"""Two benchmarks side by side, for a person to read: which rows changed by more than chance explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from mnist_fast.bench import noise
from mnist_fast.bench.config import MODES
from mnist_fast.bench.recorded import Change, changes
from mnist_fast.bench.table import WIDTH, machine_line


def print_comparison(then: Mapping[str, Any], now: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the rows whose ratio to stock changed beyond both intervals, and how many did not.

    Args:
        then: the earlier report as JSON.
        now: the later one.
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = WIDTH
    shared = changes(then["results"], now["results"])
    for title, report in (("then", then), ("now", now)):
        machine = report["environment"]
        line = f"{title}: {machine['date'][:10]}, {machine_line(machine)}, mnist_fast {machine['mnist_fast']}"
        console.print(line, highlight=False, markup=False)
    changed = [change for change in shared if change.verdict in ("faster", "slower")]
    if changed:
        console.print(_table(changed))
    noisy = [title for title, report in (("then", then), ("now", now)) if noise.notes(report["environment"], [])]
    for line in _summary(shared, len(then["results"]), len(now["results"]), noisy):
        console.print(line, highlight=False, markup=False)


def _summary(shared: Sequence[Change], then: int, now: int, noisy: Sequence[str]) -> list[str]:
    verdicts = [change.verdict for change in shared]
    counts = {verdict: verdicts.count(verdict) for verdict in ("faster", "slower", "same", "unknown")}
    lines = [
        f"{len(shared)} rows are in both: against stock {counts['faster']} are faster than then, {counts['slower']} "
        f"slower, {counts['same']} the same: their intervals meet"
    ]
    ours = [change.repeated for change in shared if MODES[change.now["mode"]].fused and change.repeated is not None]
    if ours:
        lines.append(f"{sum(ours)} of {len(ours)} ratios of fused modes lie in their intervals of then")
    if counts["unknown"]:
        lines.append(f"of {counts['unknown']} one side has no interval: no stock mode, one round, or an older version")
    if then > len(shared) or now > len(shared):
        lines.append(f"{then - len(shared)} rows are only in the file, {now - len(shared)} only in this benchmark")
    if noisy:
        lines.append(
            f"the machine was busy {' and '.join(noisy)}: intervals know no load that lasts longer than a benchmark; "
            "measure again when idle before believing in a change"
        )
    return lines


def _table(changed: Sequence[Change]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("network", "layer", "pass", "batch", "threads", "mode"):
        table.add_column(name, no_wrap=name not in ("pass", "mode"))
    for name in ("then, ms", "now, ms", "then vs stock", "now vs stock", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for change in changed:
        then, now = change.then, change.now
        pass_, mode = (now[name].replace("_", " ") for name in ("pass", "mode"))
        what = (now["arch"], now["layer"], pass_, str(now["batch_size"]), str(now["threads"]), mode)
        times = (f"{row['median_ms']:.4g}" for row in (then, now))
        table.add_row(*what, *times, _ratio(then), _ratio(now), change.verdict)
    return table


def _ratio(row: Mapping[str, Any]) -> str:
    return f"{row['ratio_vs_best_stock']:.2f}x ±{(row['ratio_high'] - row['ratio_low']) / 2:.2f}"
