"""Draws the picture of docs/mathematics.md: ``python docs/figures/draw.py`` writes it for light and dark pages.

The numbers in them are computed, not made up: one 3x3 filter on a 6x6 picture, ReLU, and 2x2 pooling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
X = [
    [0, 0, 1, 2, 0, 0],
    [0, 1, 2, 1, 0, 0],
    [0, 2, 1, 0, 0, 1],
    [1, 2, 0, 0, 1, 2],
    [2, 1, 0, 0, 2, 2],
    [1, 0, 0, 1, 2, 1],
]
W = [[0, 1, -1], [1, 0, -1], [1, -1, 0]]
G = [[3, 6], [-2, 4]]
DEAD = "–"
CELL = 30


@dataclass(frozen=True)
class Colours:
    text: str
    faint: str
    line: str
    winner: str
    field: str


LIGHT = Colours(text="#1f2328", faint="#818b98", line="#afb8c1", winner="#ffd8a8", field="#cfe3fb")
DARK = Colours(text="#e6edf3", faint="#8b949e", line="#57606a", winner="#8a4b08", field="#1b3f6e")


def convolution() -> list[list[int]]:
    return [[sum(W[u][v] * X[i + u][j + v] for u in range(3) for v in range(3)) for j in range(4)] for i in range(4)]


def pooling(z: list[list[int]]) -> tuple[list[list[int]], list[list[str]]]:
    """Values and codes of the four windows: the winner's position by rows, first of equals, or DEAD."""
    values, codes = [[0, 0], [0, 0]], [[DEAD, DEAD], [DEAD, DEAD]]
    for p in range(2):
        for q in range(2):
            window = [z[2 * p + r][2 * q + s] for r in range(2) for s in range(2)]
            if max(window) > 0:
                values[p][q], codes[p][q] = max(window), str(window.index(max(window)))
    return values, codes


def winners(codes: list[list[str]]) -> dict[tuple[int, int], int]:
    """Row and column in the convolution's output of each window that lives, with the gradient that it gets."""
    return {
        (2 * p + int(codes[p][q]) // 2, 2 * q + int(codes[p][q]) % 2): G[p][q]
        for p in range(2)
        for q in range(2)
        if codes[p][q] != DEAD
    }


def grid(
    x: int,
    y: int,
    rows: list[list[str]],
    colours: Colours,
    *,
    cell: int = CELL,
    fill: Callable[[int, int], str] = lambda _i, _j: "none",
    faint: bool = False,
) -> list[str]:
    """Cells with text; with ``faint`` dashed, for what is never stored."""
    dash = ' stroke-dasharray="3 3"' if faint else ""
    colour = colours.faint if faint else colours.text
    parts = []
    for i, row in enumerate(rows):
        for j, text in enumerate(row):
            left, top = x + j * cell, y + i * cell
            parts.append(
                f'<rect x="{left}" y="{top}" width="{cell}" height="{cell}" fill="{fill(i, j)}" '
                f'stroke="{colours.line}"{dash}/>'
            )
            chosen = colours.text if fill(i, j) != "none" else colour
            parts.append(
                f'<text x="{left + cell / 2:g}" y="{top + cell / 2 + 5:g}" text-anchor="middle" '
                f'fill="{chosen}">{text}</text>'
            )
    return parts


def caption(x: float, y: float, text: str, colours: Colours, *, strong: bool = False) -> str:
    style = f'font-weight="600" fill="{colours.text}"' if strong else f'fill="{colours.faint}"'
    return f'<text x="{x:g}" y="{y:g}" text-anchor="middle" {style}>{text}</text>'


def arrow(x: int, y: int, width: int, label: str, colours: Colours) -> list[str]:
    tip = x + width
    back = tip - 7 if width > 0 else tip + 7
    return [
        f'<path d="M{x} {y}H{tip}M{back} {y - 5}L{tip} {y}L{back} {y + 5}" fill="none" stroke="{colours.text}"/>',
        caption(x + width / 2, y - 9, label, colours),
    ]


def text_of(values: list[list[int]]) -> list[list[str]]:
    return [[str(value).replace("-", "−") for value in row] for row in values]


def picture(colours: Colours) -> str:
    """Forward above, backward below."""
    z = convolution()
    y, codes = pooling(z)
    won = winners(codes)
    first = next(iter(won))
    in_field = {(i + u, j + v) for i, j in won for u in range(3) for v in range(3)}

    def winner(i: int, j: int) -> str:
        return colours.winner if (i, j) in won else "none"

    def first_field(i: int, j: int) -> str:
        return colours.field if (i - first[0] in range(3)) and (j - first[1] in range(3)) else "none"

    def window_lines(x: int, top: int) -> str:
        path = "".join(f"M{x + 60 * k} {top}v120M{x} {top + 60 * k}h120" for k in range(3))
        return f'<path d="{path}" stroke="{colours.text}" stroke-width="1.5" fill="none"/>'

    gradient = [[f"{won[i, j]}".replace("-", "−") if (i, j) in won else "" for j in range(4)] for i in range(4)]
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 545" width="800" font-size="13" '
        'font-family="-apple-system, Segoe UI, Noto Sans, Helvetica, Arial, sans-serif">',
        "<title>What the fused block computes, keeps and touches</title>",
        f'<text x="10" y="24" font-size="16" font-weight="600" fill="{colours.text}">Forward</text>',
        caption(100, 50, "input x", colours, strong=True),
        *grid(10, 60, text_of(X), colours, fill=first_field),
        caption(100, 256, "the field of one winner", colours),
        *arrow(205, 150, 80, "3x3 filter", colours),
        caption(365, 80, "convolution z", colours, strong=True),
        *grid(305, 90, text_of(z), colours, fill=winner, faint=True),
        window_lines(305, 90),
        caption(365, 230, "in registers, never stored", colours),
        *arrow(440, 150, 80, "ReLU, max", colours),
        caption(575, 110, "output y", colours, strong=True),
        *grid(545, 120, text_of(y), colours),
        caption(575, 200, "to the next layer", colours),
        caption(710, 110, "code", colours, strong=True),
        *grid(680, 120, codes, colours, fill=lambda i, j: colours.winner if codes[i][j] != DEAD else "none"),
        caption(710, 200, "kept: a byte each", colours),
        f'<path d="M10 275H790" stroke="{colours.line}"/>',
        f'<text x="10" y="304" font-size="16" font-weight="600" fill="{colours.text}">Backward</text>',
        caption(710, 390, "gradient of y", colours, strong=True),
        *grid(680, 400, text_of(G), colours),
        caption(642, 435, "+", colours, strong=True),
        caption(575, 390, "code", colours, strong=True),
        *grid(545, 400, codes, colours, fill=lambda i, j: colours.winner if codes[i][j] != DEAD else "none"),
        *arrow(520, 430, -80, "to the winners", colours),
        caption(365, 360, "gradient of z", colours, strong=True),
        *grid(305, 370, gradient, colours, fill=winner, faint=True),
        window_lines(305, 370),
        caption(365, 510, f"{len(won)} of 16 are not zero", colours),
        *arrow(285, 430, -80, "w, x", colours),
        caption(100, 330, "fields in x", colours, strong=True),
        *grid(10, 340, [[""] * 6] * 6, colours, fill=lambda i, j: colours.field if (i, j) in in_field else "none"),
        caption(100, 536, f"{len(won)} are touched, not 16", colours),
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def files() -> dict[Path, str]:
    """What this script writes: each file and its whole content."""
    return {HERE / "window-light.svg": picture(LIGHT), HERE / "window-dark.svg": picture(DARK)}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
