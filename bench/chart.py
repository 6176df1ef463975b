"""A bar chart as SVG text, in the colours of a light or a dark page. Nothing else: bench/summary.py has the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

# text, lines, then the bars of each series
_LIGHT = ("#1f2328", "#d1d9e0", "#0969da", "#a5c8f0")
_DARK = ("#e6edf3", "#3d444d", "#4493f8", "#1f4f8f")
_LEFT, _RIGHT, _TOP, _WIDTH = 110, 50, 74, 760
_BAR, _GAP = 15, 14


def bar_chart(title: str, series: Sequence[str], bars: Mapping[str, Sequence[float]], *, dark: bool) -> str:
    """Horizontal bars in groups, one group for each name, one bar in it for each of the two series; from zero."""
    text, line, *colours = _DARK if dark else _LIGHT
    group = _BAR * len(series) + _GAP
    bottom = _TOP + group * len(bars)
    most = math.ceil(max(max(values) for values in bars.values()))
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 34}" width="{_WIDTH}" '
        f'font-family="-apple-system, Segoe UI, Noto Sans, Helvetica, Arial, sans-serif" font-size="13" fill="{text}">',
        f"<title>{escape(title)}</title>",
        f'<text x="{_LEFT}" y="22" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    x = _LEFT
    for name, colour in zip(series, colours, strict=True):
        parts.append(f'<rect x="{x}" y="37" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="48">{escape(name)}</text>')
        x += 250
    for mark in range(most + 1):
        at = _LEFT + mark * scale
        weight = 2 if mark == 1 else 1  # as fast as stock
        parts.append(f'<path d="M{at:.1f} {_TOP - 8}V{bottom}" stroke="{line}" stroke-width="{weight}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle">{mark}x</text>')
    for row, (name, values) in enumerate(bars.items()):
        y = _TOP + row * group
        middle = y + _BAR * len(series) / 2 + 5
        parts.append(f'<text x="{_LEFT - 10}" y="{middle:g}" text-anchor="end">{escape(name)}</text>')
        for index, (value, colour) in enumerate(zip(values, colours, strict=True)):
            top = y + index * _BAR
            parts.append(
                f'<rect x="{_LEFT}" y="{top}" width="{value * scale:.1f}" height="{_BAR - 2}" fill="{colour}"/>'
            )
            parts.append(f'<text x="{_LEFT + value * scale + 6:.1f}" y="{top + 11}" font-size="12">{value:.1f}x</text>')
    return "\n".join([*parts, "</svg>", ""])
