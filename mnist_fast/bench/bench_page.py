"""The page of ``mnist-fast bench --report``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from mnist_fast.bench import charts
from mnist_fast.bench.cases import NETWORK, OVERHEAD
from mnist_fast.bench.config import MODES
from mnist_fast.bench.page import figure, page, table
from mnist_fast.bench.rows import in_words

Row = Mapping[str, Any]
_FIRST_MODE = 4  # of a table's columns
_READING = (
    "Milliseconds are medians of one call. All modes computed the same thing on the same data, which was checked "
    "against float64 before anything was timed, and took turns in one process.",
    "A ratio is the lowest median of the stock modes over the fused blocks' own: the best of PyTorch, not the worst. "
    "The bar around a dot is where the same command on the same machine finds the ratio again in 19 of 20 cases. It "
    "comes from how visits, and the rounds of a visit, differ; of a load that lasts longer than the benchmark, and of "
    "another machine, it knows nothing.",
    "Memory is the most that one call held above parameters, optimizer state and input.",
)


def bench_page(report: Mapping[str, Any]) -> bytes:
    """The page of a report of ``bench`` as JSON."""
    rows = report["results"]
    fused = next((row["mode"] for row in rows if MODES[row["mode"]].fused), None)
    drawn = list(_charts(rows, fused)) if fused else []
    networks = ", ".join(dict.fromkeys(row["arch"] for row in rows))
    machine = report["environment"]
    return page(
        report,
        title="Fused blocks beside stock PyTorch",
        subtitle=f"{networks}; {rows[0]['precision']} on {machine['gpu'] or machine['cpu']}; {machine['date'][:10]}",
        charts=drawn,
        tables=list(_tables(rows, fused)),
        reading=_READING,
    )


def _charts(rows: Sequence[Row], fused: str) -> Iterator[str]:
    compared = [row for row in rows if row["mode"] == fused and row["ratio_vs_best_stock"] is not None]
    settings = dict.fromkeys((row["threads"], row["batch_size"]) for row in compared)
    for threads, batch_size in settings:
        own = [row for row in compared if (row["threads"], row["batch_size"]) == (threads, batch_size)]
        where = f"batch {batch_size}, {in_words(threads)}"
        networks = [row for row in own if row["layer"] == NETWORK]
        blocks = [row for row in own if row["layer"] != NETWORK and row["arch"] != OVERHEAD]
        for title, chosen in ((f"Networks, {where}", networks), (f"Blocks, {where}", blocks)):
            if chosen:
                caption = "How many times as fast as the best stock mode, with 95% intervals; line: as fast as stock."
                yield figure(title, caption, charts.intervals([_ratio(row) for row in chosen], 1, "{:.2f}x", "{:g}x"))
    memory = list(_memory(rows, fused))
    if memory:
        caption = "Peak above parameters, optimizer state and input, in MiB."
        keys = {"fused": "fused", "stock": "best stock mode"}
        yield figure("Memory of a call", caption, charts.bars(memory, "MiB"), keys)
    for name, lines in _scaling(rows, fused).items():
        caption = "Images a second over images a call; higher is better."
        yield figure(f"Scaling: {name}", caption, charts.scaling(lines, "images a call", "images a second"))
    overhead = list(_overhead(rows, fused))
    if overhead:
        caption = "One image of 4x4, 36 multiplications: the rest is Python, dispatch and allocation."
        keys = {"fused": "fused", "stock": "stock eager"}
        yield figure("Overhead of a call", caption, charts.bars(overhead, "µs"), keys)


def _ratio(row: Row) -> tuple[str, float, float | None, float | None]:
    name = row["arch"] if row["layer"] == NETWORK else f"{row['arch']} {row['layer']}"
    return f"{name} · {_pass(row)}", row["ratio_vs_best_stock"], row["ratio_low"], row["ratio_high"]


def _pass(row: Row) -> str:
    return str(row["pass"]).replace("_", "+")


def _comparison(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("threads", "batch_size", "arch", "layer", "pass"))


def _memory(rows: Sequence[Row], fused: str) -> Iterator[tuple[str, dict[str, float]]]:
    """MiB of the heaviest pass of each network, at the largest batch: of the fused and of the fastest stock mode."""
    for arch in dict.fromkeys(row["arch"] for row in rows):
        whole = [row for row in rows if row["arch"] == arch and row["layer"] == NETWORK]
        if not whole:
            continue
        heaviest = max(whole, key=lambda row: (row["batch_size"], row["peak_bytes"]))
        same = [row for row in whole if _comparison(row) == _comparison(heaviest)]
        stock = [row for row in same if not MODES[row["mode"]].fused]
        mine = [row for row in same if row["mode"] == fused]
        if stock and mine:
            best = min(stock, key=lambda row: row["median_ms"])
            peaks = {"fused": mine[0]["peak_bytes"] / 2**20, "stock": best["peak_bytes"] / 2**20}
            yield f"{arch} · {_pass(heaviest)} · {heaviest['batch_size']}", peaks


def _overhead(rows: Sequence[Row], fused: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Microseconds of each pass of the overhead case."""
    chosen = [row for row in rows if row["arch"] == OVERHEAD and row["mode"] in ("eager", fused)]
    for _, group in groupby(chosen, key=_comparison):
        same = list(group)
        times = {"fused" if row["mode"] == fused else "stock": 1000 * row["median_ms"] for row in same}
        yield f"{_pass(same[0])}, {in_words(same[0]['threads'])}", times


def _scaling(rows: Sequence[Row], fused: str) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """For each network that was measured at several batch sizes: lines of one pass, the heaviest there is."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for arch in dict.fromkeys(row["arch"] for row in rows):
        own = [row for row in rows if row["arch"] == arch and row["layer"] == NETWORK]
        names = [row["pass"] for row in own]
        if len({row["batch_size"] for row in own}) < 3:
            continue
        pass_ = next(name for name in ("step", "forward_backward", "inference", "forward") if name in names)
        lines: dict[str, dict[float, float]] = {}
        for row in own:
            if row["pass"] != pass_ or (MODES[row["mode"]].fused and row["mode"] != fused):
                continue
            kind = "fused" if row["mode"] == fused else "best stock"
            line = lines.setdefault(f"{kind}, {in_words(row['threads'])}", {})
            line[row["batch_size"]] = max(line.get(row["batch_size"], 0.0), row["images_per_second"])
        found[f"{arch}, {pass_.replace('_', '+')}"] = {name: sorted(line.items()) for name, line in lines.items()}
    return found


def _tables(rows: Sequence[Row], fused: str | None) -> Iterator[str]:
    for (threads, arch, batch_size), group in groupby(
        rows, key=lambda row: (row["threads"], row["arch"], row["batch_size"])
    ):
        own = list(group)
        modes = list(dict.fromkeys(row["mode"] for row in own))
        lines, best = [], []
        for (layer, _), same in groupby(own, key=lambda row: (row["layer"], row["pass"])):
            by_mode = {row["mode"]: row for row in same}
            times = [f"{by_mode[mode]['median_ms']:.4g}" if mode in by_mode else "-" for mode in modes]
            fastest = min(by_mode, key=lambda mode: by_mode[mode]["median_ms"])
            ratio, interval, peak = _columns(by_mode.get(fused or ""))
            best.append(_FIRST_MODE + modes.index(fastest))
            lines.append([layer, _pass(next(iter(by_mode.values()))), ratio, interval, *times, peak])
        title = f"{arch}, batch {batch_size}, {in_words(threads)}: milliseconds"
        # The ratio comes first, for a phone shows no more.
        head = ["layer", "pass", "vs best stock", "95%", *(mode.replace("_", " ") for mode in modes), "peak MiB"]
        yield table(title, head, lines, best)


def _columns(row: Row | None) -> tuple[str, str, str]:
    """Of the fused mode: ratio, interval, peak."""
    if row is None:
        return "-", "-", "-"
    ratio = "-" if row["ratio_vs_best_stock"] is None else f"{row['ratio_vs_best_stock']:.2f}x"
    interval = "-" if row["ratio_low"] is None else f"{row['ratio_low']:.2f}–{row['ratio_high']:.2f}"
    return ratio, interval, f"{row['peak_bytes'] / 2**20:.2f}"
