"""Charts of a benchmark as SVG text whose colours are the page's, so that they follow it into the dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter

# Stand-ins that matplotlib accepts, and the style sheet's names of the colours.
_COLOURS = {"#010101": "ink", "#020202": "line", "#030303": "fused", "#040404": "stock"}
_INK, _LINE, _FUSED, _STOCK = _COLOURS
_WIDTH = 5.2  # inches; a phone shows it at about its natural size
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "mnist_fast",  # the same results give the same page
    "svg.fonttype": "none",  # text stays text, in the page's font
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.major.size": 0,
    "grid.color": _LINE,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def intervals(
    rows: Sequence[tuple[str, float, float | None, float | None]], reference: float, form: str, tick: str
) -> str:
    """A dot with its interval and its number for each (label, value, low, high), and a line at ``reference``.

    What an interval has beyond three times all numbers is cut off: it would press them together.

    Args:
        form, tick: format strings of the numbers beside the dots and along the axis.
    """

    def draw(axes: Axes) -> None:
        ends = [end for _, *numbers in rows for end in numbers if end is not None]
        farthest = 3 * max(reference, *(value for _, value, _, _ in rows))
        most, least = min(max(*ends, reference), farthest), min(*ends, reference)
        least = 0 if least < most / 2 else least - (most - least) / 10  # from zero, unless all would stick together
        for place, (_, value, low, high) in enumerate(rows):
            if low is not None and high is not None:
                axes.plot(
                    [low, min(high, farthest)],
                    [place, place],
                    color=_FUSED,
                    linewidth=5,
                    alpha=0.4,
                    solid_capstyle="butt",
                )
            axes.plot(value, place, "o", color=_FUSED, markersize=6)
            axes.text(most + (most - least) / 15, place, form.format(value), va="center", fontsize=9)
        axes.axvline(reference, color=_STOCK, linewidth=1.5)
        _label_rows(axes, [label for label, *_ in rows])
        axes.set_xlim(least, most + (most - least) / 4)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick.format(value)))
        axes.grid(axis="x")

    return _svg(draw, 0.5 + 0.28 * len(rows))


def bars(rows: Sequence[tuple[str, Mapping[str, float]]], unit: str) -> str:
    """For each label a bar for each series: ``fused`` or ``stock``; each bar has its number beside it."""

    def draw(axes: Axes) -> None:
        most = max(value for _, values in rows for value in values.values())
        for place, (_, values) in enumerate(rows):
            for index, (name, value) in enumerate(values.items()):
                at = place + 0.38 * (index - (len(values) - 1) / 2)
                axes.barh(at, value, height=0.34, color=_FUSED if name == "fused" else _STOCK)
                axes.text(value + most / 80, at, f"{value:.3g} {unit}", va="center", fontsize=9)
        _label_rows(axes, [label for label, _ in rows])
        axes.set_xlim(0, 1.2 * most)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return _svg(draw, 0.2 + 0.55 * len(rows))


def scaling(lines: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str) -> str:
    """Lines over a logarithmic axis of powers of two; labels that begin with ``fused`` have its colour."""

    def draw(axes: Axes) -> None:
        dashes = ("-", "--", ":", "-.")
        seen = {True: 0, False: 0}
        for label, points in lines.items():
            fused = label.startswith("fused")
            style = dashes[seen[fused] % len(dashes)]
            seen[fused] += 1
            colour = _FUSED if fused else _STOCK
            axes.plot(*zip(*points, strict=True), style, marker="o", markersize=4, color=colour, label=label)
        marks = sorted({x for points in lines.values() for x, _ in points})
        axes.set_xscale("log", base=2)
        axes.set_xticks(marks, [f"{mark:g}" for mark in marks])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(axis="y")
        axes.legend(fontsize=9)

    return _svg(draw, 2.9)


def parts(rows: Sequence[tuple[str, str, Sequence[float]]], unit: str) -> str:
    """A bar for each row made of up to three parts: (label, ``fused`` or ``stock``, parts); its sum is beside it."""

    def draw(axes: Axes) -> None:
        most = max(sum(values) for _, _, values in rows)
        for place, (_, kind, values) in enumerate(rows):
            left = 0.0
            for value, opacity in zip(values, (1, 0.7, 0.4), strict=False):
                colour = _FUSED if kind == "fused" else _STOCK
                axes.barh(place, value, left=left, height=0.6, color=colour, alpha=opacity)
                left += value
            axes.text(left + most / 80, place, f"{left:.3g} {unit}", va="center", fontsize=9)
        _label_rows(axes, [label for label, _, _ in rows])
        axes.set_xlim(0, 1.2 * most)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return _svg(draw, 0.2 + 0.4 * len(rows))


def _label_rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _svg(draw: Callable[[Axes], None], height: float) -> str:
    """A figure's SVG, to stand in a page: no declarations, no metadata, the page's colours."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True)
    text = content.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for stand_in, name in _COLOURS.items():
        text = text.replace(stand_in, f"var(--{name})")
    return text
