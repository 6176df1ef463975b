"""Brings the recorded results into the documents: ``python bench/summary.py`` after recording anew.

It rewrites what stands between ``<!-- bench: NAME -->`` and ``<!-- /bench -->`` in README.md and docs/, and the bar
chart in docs/figures. tests/test_bench_summary.py fails where a document says something else than bench/results.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from chart import bar_chart

ROOT = Path(__file__).resolve().parent.parent
STOCK = {
    "eager": "stock",
    "channels_last": "stock, channels_last",
    "compile": "`torch.compile`",
    "compile_channels_last": "compile, channels_last",
}
BATCH_SIZES = (64, 256)
Row = dict[str, Any]


def newest(precision: str, what: str = "step") -> tuple[Row, list[Row]]:
    """Environment and rows of the latest recorded comparison in that precision on a CPU.

    Args:
        what: ``step``: of the training steps of whole networks; ``block``: of blocks on their own.
    """
    found = []
    for path in (ROOT / "bench/results").glob("*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        rows = [row for row in report["results"] if row.get("precision") == precision and row["device"] == "cpu"]
        most = max((row.get("threads", 0) for row in rows), default=0)  # a file may hold several numbers of threads
        rows = [row for row in rows if row.get("threads", 0) == most and row["arch"] != "overhead"]
        if any(row["pass"] == "step" if what == "step" else row["layer"] != "network" for row in rows):
            found.append((report["environment"]["date"], path.name, report["environment"], rows))
    if not found:
        raise SystemExit(f"bench/results holds no {what} in {precision}; bench/README.md says how to record")
    return max(found)[2:]


def comparison(rows: list[Row], **wanted: Any) -> dict[str, Row]:
    """The rows of one comparison by mode, the fused one included."""
    chosen = {row["mode"]: row for row in rows if all(row[key] == value for key, value in wanted.items())}
    missing = {*STOCK, "fused"} - chosen.keys()
    if missing:
        raise SystemExit(f"the recorded results lack {', '.join(sorted(missing))} for {wanted}; record all modes")
    return chosen


def speedups(modes: dict[str, Row]) -> tuple[float, float]:
    """How many times as fast as the best stock mode, and as stock eager, the fused blocks are."""
    fused = modes["fused"]["median_ms"]
    return min(modes[name]["median_ms"] for name in STOCK) / fused, modes["eager"]["median_ms"] / fused


def networks(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row["arch"] for row in rows))


def steps() -> str:
    """README's table: milliseconds of a training step."""
    environment, rows = newest("fp32")
    lines = [f"| network | {' | '.join(STOCK.values())} | fused | against the best | against stock |", "|---" * 8 + "|"]
    for arch in networks(rows):
        modes = comparison(rows, arch=arch, layer="network", batch_size=64, **{"pass": "step"})
        times = [f"{milliseconds(modes[name])}" for name in STOCK]
        ratios = [f"{ratio:.1f}x" for ratio in speedups(modes)]
        lines.append(f"| `{arch}` | {' | '.join(times)} | **{milliseconds(modes['fused'])}** | {' | '.join(ratios)} |")
    first = comparison(rows, arch="cnn", layer="network", batch_size=64, **{"pass": "step"})
    threads = first["fused"].get("threads", environment["threads"])
    mebibytes = {name: row["peak_bytes"] / 2**20 for name, row in first.items()}
    return "\n".join(
        [
            *lines,
            "",
            f"{threads} threads on {environment['cores']} cores of an {environment['cpu']}, "
            f"{environment['backend']['cpu']['isa']}, torch {short(environment['torch'])}, {environment['date'][:10]}. "
            f"A step of `cnn` needs {mebibytes['fused']:.0f} MiB above parameters and optimizer state, "
            f"stock {mebibytes['eager']:.0f}.",
        ]
    )


def ratios() -> str:
    """The benchmark page's table: how many times as fast as the best stock mode, for both precisions."""
    columns = [(kind, precision) for precision in ("fp32", "bf16") for kind in ("step", "inference")]
    results = {precision: newest(precision)[1] for precision in ("fp32", "bf16")}
    names = {"fp32": "float32", "bf16": "bfloat16"}
    lines = [f"| network | {' | '.join(f'{kind}, {names[p]}' for kind, p in columns)} |", "|---" * 5 + "|"]
    for arch in networks(results["fp32"]):
        cells = []
        for kind, precision in columns:
            pair = [
                speedups(comparison(results[precision], arch=arch, layer="network", batch_size=size, **{"pass": kind}))[
                    0
                ]
                for size in BATCH_SIZES
            ]
            cells.append(" / ".join(f"{ratio:.1f}" for ratio in pair))
        lines.append(f"| `{arch}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def blocks() -> str:
    """The mathematics page's table: forward and backward of the blocks of ``cnn``."""
    _, rows = newest("fp32", "block")
    lines = ["| block | forward: best stock | fused | backward: best stock | fused |", "|---" * 5 + "|"]
    for layer in dict.fromkeys(row["layer"] for row in rows if row["arch"] == "cnn" and row["layer"] != "network"):
        forward, both = (
            {
                mode: row["median_ms"]
                for mode, row in comparison(rows, arch="cnn", layer=layer, batch_size=64, **{"pass": name}).items()
            }
            for name in ("forward", "forward_backward")
        )
        backward = {mode: both[mode] - forward[mode] for mode in both}
        cells = [
            number
            for times in (forward, backward)
            for number in (digits(min(times[mode] for mode in STOCK)), f"**{digits(times['fused'])}**")
        ]
        lines.append(f"| `{layer}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def milliseconds(row: Row) -> str:
    return digits(row["median_ms"])


def digits(value: float) -> str:
    """Milliseconds with three significant digits."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def short(version: str) -> str:
    return ".".join(version.split("+")[0].split(".")[:2])


def chart(dark: bool) -> str:
    """The picture of README's table, as SVG."""
    _, rows = newest("fp32")
    bars = {
        arch: speedups(comparison(rows, arch=arch, layer="network", batch_size=64, **{"pass": "step"}))
        for arch in networks(rows)
    }
    title = "A training step with fused blocks: how many times as fast"
    return bar_chart(title, ("as the best of four stock modes", "as stock PyTorch"), bars, dark=dark)


TABLES = {"steps": steps, "ratios": ratios, "blocks": blocks}


def with_tables(text: str) -> str:
    """A document with each table between its marks as it should be."""
    return re.sub(
        r"(<!-- bench: (\w+) -->\n).*?(<!-- /bench -->)",
        lambda match: f"{match[1]}{TABLES[match[2]]()}\n{match[3]}",
        text,
        flags=re.DOTALL,
    )


def files() -> dict[Path, str]:
    """What this script writes: each file and its whole content."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    documents = {path: path.read_text(encoding="utf-8") for path in pages}
    written = {path: with_tables(text) for path, text in documents.items() if "<!-- bench: " in text}
    figures = ROOT / "docs" / "figures"
    return written | {figures / f"steps-{name}.svg": chart(name == "dark") for name in ("light", "dark")}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
        print(path.relative_to(ROOT))
