"""A report as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from mnist_fast.bench import noise

Report = Mapping[str, Any]


def page(
    report: Report, *, title: str, subtitle: str, charts: Sequence[str], tables: Sequence[str], reading: Sequence[str]
) -> bytes:
    """The page, UTF-8.

    Args:
        report: the JSON of ``bench`` or ``speedrun``: its environment, noise and command are shown.
        title, subtitle: plain text.
        charts: of :func:`figure`.
        tables: of :func:`table`.
        reading: paragraphs of plain text on what the numbers mean.
    """
    lines = [
        *(f"mode {mode} is not available here: {reason}" for mode, reason in report.get("unavailable", {}).items()),
        *noise.notes(report["environment"], report["results"]),
    ]
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        notes="".join(f'<p class="notes">{escape(line[0].upper() + line[1:])}.</p>' for line in lines),
        charts="\n".join(charts),
        tables="\n".join(tables),
        reading="\n".join(f"<p>{escape(paragraph)}</p>" for paragraph in reading),
        machine="\n".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in _machine(report).items()),
        command=escape(report.get("reproduce") or "not recorded"),
    ).encode()


def figure(title: str, caption: str, svg: str, keys: Mapping[str, str] | None = None) -> str:
    """A chart with its title, what it shows, and ``keys``: what the colours ``fused`` and ``stock`` stand for."""
    legend = "".join(f'<span class="key {kind}">{escape(label)}</span>&emsp;' for kind, label in (keys or {}).items())
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    return f"<figure><h3>{escape(title)}</h3><figcaption>{escape(caption)}<br>{legend}</figcaption>{svg}</figure>"


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], best: Sequence[int | None] = ()) -> str:
    """A table of plain text; ``best``: for each row the column that is set in bold."""
    lines = []
    for number, cells in enumerate(rows):
        bold = best[number] if best else None
        marked = (
            f'<td class="best">{escape(cell)}</td>' if column == bold else f"<td>{escape(cell)}</td>"
            for column, cell in enumerate(cells)
        )
        lines.append(f"<tr>{''.join(marked)}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join(lines)
    return f'<h3>{escape(title)}</h3>\n<div class="wide"><table><tr>{heads}</tr>\n{body}\n</table></div>'


def _machine(report: Report) -> dict[str, str]:
    machine = report["environment"]
    kernels = machine["backend"]["cuda" if machine["gpu"] else "cpu"]
    waited, crowded = machine.get("waited_fraction"), machine.get("crowded_fraction")
    return {
        "Processor": f"{machine['cpu']}, {machine['cores']} cores available",
        **({"GPU": machine["gpu"]} if machine["gpu"] else {}),
        "Memory": f"{machine['memory_bytes'] / 2**30:.1f} GiB",
        "Threads": str(machine["threads"]),
        "Kernels": kernels["isa"] or "CUDA" if kernels["available"] else f"stock operators: {kernels['reason']}",
        "Load": f"{machine['load_average']} in the minute before"
        + ("" if waited is None else f"; did not run for {waited:.1%} of the timed seconds")
        + ("" if crowded is None else f"; less than a core for each thread in {crowded:.1%} of the rounds"),
        "Software": f"mnist_fast {machine['mnist_fast']}, torch {machine['torch']}, Python {machine['python']}",
        "System": machine["os"],
        "Date": machine["date"],
    }
