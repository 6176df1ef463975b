"""A benchmark for a person to read: one table for each network and batch size."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from mnist_fast.bench import noise
from mnist_fast.bench.config import MODES
from mnist_fast.bench.rows import in_percent, in_words, uncertainty

if TYPE_CHECKING:
    from mnist_fast.bench.rows import Row
    from mnist_fast.bench.runner import BenchReport

WIDTH = 120  # where the output is no terminal; rich would fall back to 80 columns


def print_report(report: BenchReport, console: Console | None = None) -> None:
    """Print the machine, a table for each network and batch size, and what was not available."""
    console = console or Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(machine_line(report.environment), highlight=False, markup=False)
    for _, rows in groupby(report.results, key=lambda row: (row["threads"], row["arch"], row["batch_size"])):
        console.print()
        measured = list(rows)
        console.print(_title(measured), style="bold", highlight=False)
        console.print(_table(measured))
    for note in _notes(report):
        console.print(note, highlight=False, markup=False)


def machine_line(machine: dict[str, Any]) -> str:
    """``environment`` in one line."""
    device = f"{machine['gpu']}, " if machine["gpu"] else ""
    return (
        f"{device}{machine['cpu']}, {machine['cores']} cores, "
        f"kernels {machine['backend']['cpu']['isa']}, torch {machine['torch']}, "
        f"load average {machine['load_average']}"
    )


def _notes(report: BenchReport) -> list[str]:
    """What a reader must know to judge the numbers."""
    machine = report.environment
    notes = [f"mode {mode} is not available here: {reason}" for mode, reason in report.unavailable.items()]
    if any(MODES[row["mode"]].fused for row in report.results) and (reason := _why_no_kernels(machine)):
        notes.append(f"the fused modes ran through the stock operators: {reason}")
    return [*notes, *noise.notes(machine, report.results)]


def _why_no_kernels(machine: dict[str, Any]) -> str | None:
    backend = machine["backend"]
    if backend["backend"] == "stock":
        return "MNIST_FAST_BACKEND=stock is set"
    kernels = backend["cuda" if machine["gpu"] else "cpu"]
    return None if kernels["available"] else str(kernels["reason"])


def _table(rows: list[Row]) -> Table:
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    fused = _first_fused(rows)
    against = [name for name in ("best stock", "eager") if fused and _reference(name, modes)]
    table = Table(box=box.HORIZONTALS, pad_edge=False)
    table.add_column("layer")
    table.add_column("pass")
    for mode in modes:
        table.add_column(mode.replace("_", "\n"), justify="right")
    for name in against:
        table.add_column("\n".join(f"vs {name}".rsplit(" ", 1)), justify="right")
    previous = None
    for (layer, pass_), group in groupby(rows, key=lambda row: (row["layer"], row["pass"])):
        if previous not in (None, layer):
            table.add_section()
        previous = layer
        by_mode = {row["mode"]: row for row in group}
        medians = {mode: row["median_ms"] for mode, row in by_mode.items()}
        speedups = [_speedup(medians, fused, _reference(name, list(medians))) for name in against]
        if speedups and fused in by_mode:
            speedups[0] += _error(by_mode[fused])
        table.add_row(layer, pass_, *_milliseconds(medians, modes), *speedups)
    return table


def _title(rows: list[Row]) -> str:
    row = rows[0]
    threads = f", {in_words(row['threads'])}" if row["device"] == "cpu" else ""
    title = (
        f"{row['arch']}, batch {row['batch_size']}, {row['precision']}, {row['device']}{threads}: median milliseconds"
    )
    fused = _first_fused(rows)
    return f"{title}; how many times as fast {fused} is" if fused else title


def _first_fused(rows: list[Row]) -> str | None:
    """The mode whose speed-up is shown."""
    return next((row["mode"] for row in rows if MODES[row["mode"]].fused), None)


def _reference(name: str, modes: Iterable[str]) -> list[str]:
    """The modes whose lowest median ``name`` stands for."""
    return [mode for mode in modes if (mode == "eager" if name == "eager" else not MODES[mode].fused)]


def _milliseconds(medians: dict[str, float], modes: list[str]) -> list[str]:
    """A cell for each mode, the lowest in bold."""
    best = min(medians.values())
    cells = []
    for mode in modes:
        value = medians.get(mode)
        text = "-" if value is None else _four_digits(value)
        cells.append(f"[bold]{text}[/bold]" if value == best else text)
    return cells


def _four_digits(value: float) -> str:
    return f"{value:.{4 if value < 0.1 else 3 if value < 10 else 2 if value < 100 else 1 if value < 1000 else 0}f}"


def _speedup(medians: dict[str, float], fused: str | None, reference: list[str]) -> str:
    if fused not in medians or not reference:
        return "-"
    return f"{min(medians[mode] for mode in reference) / medians[fused]:.2f}x"


def _error(row: Row) -> str:
    """Half the width of the interval of the ratio to the best stock mode."""
    error = uncertainty(row)
    return "" if error is None else f" ±{in_percent(error)}"
