"""Pictures of digits for the tests of `predict`: written strokes, glyphs of fonts, MNIST photographed anew."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

# Each digit in several hands; a hand is a list of strokes, a stroke the points (x, y), y downwards, that a smooth curve
# passes through. Two equal points in a row make a corner.
HANDS: dict[int, list[list[list[tuple[float, float]]]]] = {
    0: [
        [[(0.5, 0), (0.1, 0.25), (0.05, 0.6), (0.4, 1), (0.85, 0.7), (0.9, 0.3), (0.5, 0)]],
        [[(0.6, 0.02), (0.2, 0.2), (0.1, 0.7), (0.5, 1), (0.8, 0.6), (0.75, 0.2), (0.45, 0)]],
        [[(0.5, 0), (0.9, 0.35), (0.85, 0.75), (0.5, 1), (0.12, 0.7), (0.12, 0.3), (0.55, 0.02)]],
    ],
    1: [
        [[(0.5, 0), (0.5, 1)]],
        [[(0.25, 0.25), (0.55, 0), (0.55, 0), (0.55, 1)]],
        [[(0.6, 0), (0.5, 0.5), (0.4, 1)]],
    ],
    2: [
        [[(0.1, 0.2), (0.5, 0), (0.85, 0.25), (0.6, 0.6), (0.1, 1), (0.1, 1), (0.95, 1)]],
        [[(0.1, 0.15), (0.55, 0), (0.8, 0.3), (0.45, 0.75), (0.1, 0.95), (0.2, 0.8), (0.5, 0.9), (0.95, 0.95)]],
        [[(0.15, 0.3), (0.4, 0), (0.8, 0.2), (0.65, 0.55), (0.1, 0.95), (0.1, 0.95), (0.85, 0.98)]],
    ],
    3: [
        [[(0.1, 0.1), (0.5, 0), (0.8, 0.2), (0.4, 0.48), (0.4, 0.48), (0.85, 0.7), (0.5, 1), (0.05, 0.9)]],
        [[(0.15, 0.15), (0.6, 0.02), (0.75, 0.3), (0.3, 0.5), (0.8, 0.65), (0.6, 0.97), (0.1, 0.85)]],
        [[(0.1, 0), (0.85, 0), (0.85, 0), (0.4, 0.42), (0.4, 0.42), (0.85, 0.65), (0.55, 1), (0.05, 0.9)]],
    ],
    4: [
        [[(0.2, 0), (0.1, 0.55), (0.1, 0.55), (0.9, 0.55)], [(0.7, 0.1), (0.65, 1)]],
        [[(0.65, 1), (0.65, 0), (0.65, 0), (0.05, 0.65), (0.05, 0.65), (0.95, 0.65)]],
        [[(0.15, 0.05), (0.1, 0.5), (0.4, 0.58), (0.75, 0.5)], [(0.8, 0), (0.75, 0.5), (0.7, 1)]],
    ],
    5: [
        [[(0.85, 0), (0.2, 0), (0.2, 0), (0.15, 0.45), (0.15, 0.45), (0.6, 0.4), (0.85, 0.7), (0.5, 1), (0.05, 0.9)]],
        [[(0.2, 0.02), (0.15, 0.45), (0.15, 0.45), (0.65, 0.42), (0.8, 0.75), (0.1, 0.95)], [(0.2, 0.02), (0.85, 0)]],
        [[(0.8, 0.05), (0.3, 0.05), (0.25, 0.45), (0.7, 0.55), (0.75, 0.85), (0.4, 1), (0.1, 0.85)]],
    ],
    6: [
        [[(0.7, 0), (0.25, 0.4), (0.1, 0.75), (0.45, 1), (0.8, 0.75), (0.5, 0.52), (0.15, 0.7)]],
        [[(0.5, 0), (0.2, 0.45), (0.15, 0.85), (0.5, 1), (0.75, 0.8), (0.6, 0.55), (0.18, 0.68)]],
        [[(0.85, 0.08), (0.45, 0.05), (0.12, 0.5), (0.25, 0.95), (0.75, 0.9), (0.75, 0.6), (0.4, 0.5), (0.13, 0.65)]],
    ],
    7: [
        [[(0.1, 0.02), (0.9, 0), (0.9, 0), (0.6, 0.5), (0.45, 1)]],
        [[(0.1, 0.05), (0.85, 0.03), (0.85, 0.03), (0.4, 1)]],
        [[(0.1, 0.02), (0.9, 0), (0.9, 0), (0.6, 0.5), (0.4, 1)], [(0.3, 0.5), (0.85, 0.48)]],
    ],
    8: [
        [[(0.8, 0.15), (0.45, 0), (0.15, 0.22), (0.5, 0.48), (0.85, 0.75), (0.5, 1), (0.12, 0.77), (0.5, 0.48),
          (0.82, 0.2), (0.7, 0.08)]],
        [[(0.5, 0), (0.2, 0.22), (0.5, 0.46), (0.8, 0.22), (0.5, 0)],
         [(0.5, 0.46), (0.12, 0.75), (0.5, 1), (0.88, 0.75), (0.5, 0.46)]],
        [[(0.75, 0.05), (0.3, 0.1), (0.35, 0.4), (0.7, 0.6), (0.65, 0.95), (0.25, 0.9), (0.35, 0.6), (0.7, 0.3),
          (0.72, 0.05)]],
    ],
    9: [
        [[(0.8, 0.2), (0.45, 0), (0.15, 0.25), (0.45, 0.5), (0.8, 0.2), (0.8, 0.2), (0.75, 1)]],
        [[(0.78, 0.15), (0.4, 0.02), (0.15, 0.3), (0.5, 0.48), (0.8, 0.18), (0.75, 0.6), (0.45, 1)]],
        [[(0.75, 0.25), (0.5, 0.02), (0.2, 0.2), (0.35, 0.45), (0.75, 0.25), (0.78, 0.65), (0.5, 0.98), (0.2, 0.9)]],
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a digit is put on paper.

    Attributes:
        side: of the square picture, in pixels.
        pen: width of the stroke, as a part of the digit's height.
        size: height of the digit, as a part of the picture's side.
        ink, paper: grey levels.
        shade: how much darker the paper's darkest corner is, in grey levels.
        noise: standard deviation, in grey levels.
        offset: of the digit from the middle, as a part of the free space.
    """

    side: int = 280
    pen: float = 0.09
    size: float = 0.6
    ink: int = 20
    paper: int = 245
    shade: float = 0
    noise: float = 0
    offset: float = 0


LOOKS = {
    "clean": Look(),
    "thin": Look(pen=0.025),
    "thick": Look(pen=0.15),
    "small picture": Look(side=48),
    "large, small digit": Look(side=900, size=0.15),
    "off centre": Look(size=0.4, offset=1),
    "light on dark": Look(ink=235, paper=15),
    "faint": Look(ink=190, paper=225),
    "noise": Look(noise=25),
    "uneven paper": Look(shade=110),
    "uneven, light on dark": Look(ink=235, paper=130, shade=110),
    "uneven, noise, off centre": Look(shade=90, noise=10, size=0.4, offset=1),
}


def drawn(digit: int, hand: int, look: Look, random: np.random.Generator) -> Image.Image:
    """A digit in one of the hands, as no two people write it: leaning, narrow or wide, with points that wander."""
    lean, width = random.uniform(-0.25, 0.15), random.uniform(0.5, 0.8)
    turn = math.radians(random.uniform(-8, 8))
    strokes = []
    for stroke in HANDS[digit][hand]:
        points = [(x + random.normal(0, 0.02), y + random.normal(0, 0.02)) for x, y in _curve(stroke, random)]
        smooth = np.array(points)
        for axis in (0, 1):  # a hand does not tremble at every point
            smooth[:, axis] = np.convolve(np.pad(smooth[:, axis], 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
        x, y = (smooth[:, 0] - 0.5) * width, smooth[:, 1] - 0.5
        x = x - lean * y
        strokes.append(np.stack([x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)], 1))
    scale = 4  # drawn larger and reduced, for smooth edges
    side = min(look.side, 200) * scale
    low, high = np.concatenate(strokes).min(0), np.concatenate(strokes).max(0)
    unit = look.size * side / (high - low).max()
    pen = max(look.pen * look.size * side, scale)
    mask = Image.new("L", (side, side))
    brush = ImageDraw.Draw(mask)
    for stroke in strokes:
        path = [tuple(point) for point in (stroke - (low + high) / 2) * unit + side / 2]
        brush.line(path, fill=255, width=round(pen), joint="curve")
        for x, y in path:
            brush.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    return on_paper(mask, look, random)


def _curve(points: list[tuple[float, float]], random: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Catmull-Rom splines through the points."""
    moved = {point: np.array(point) + random.normal(0, 0.03, 2) for point in points}
    knots = [moved[points[0]], *(moved[point] for point in points), moved[points[-1]]]
    for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        for t in np.linspace(0, 1, 16, endpoint=False):
            yield tuple(
                0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
            )
    yield tuple(knots[-1])


def glyph(digit: int, font: Path, look: Look, random: np.random.Generator, turn: float = 0) -> Image.Image:
    """A digit of a font, turned by ``turn`` degrees."""
    side = min(look.side, 400)
    mask = Image.new("L", (side, side))
    drawing = ImageDraw.Draw(mask)
    text = ImageFont.truetype(str(font), round(look.size * side * 1.3))
    drawing.text((side / 2, side / 2), str(digit), fill=255, font=text, anchor="mm")
    return on_paper(mask.rotate(turn, Image.Resampling.BICUBIC), look, random)


def on_paper(mask: Image.Image, look: Look, random: np.random.Generator) -> Image.Image:
    """Where ``mask`` (a square of any size) is white there is ink; the rest is paper."""
    mask = mask.resize((look.side, look.side), Image.Resampling.LANCZOS)
    if look.offset:
        free = (1 - look.size) / 2 * look.side * 0.7
        shift = look.offset * free * random.choice([-1, 1], 2)
        mask = mask.transform(mask.size, Image.Transform.AFFINE, (1, 0, shift[0], 0, 1, shift[1]))
    ink = np.asarray(mask, dtype=np.float64) / 255
    across = np.linspace(0, 0.5, look.side)
    paper = look.paper - look.shade * (across[:, None] + across)
    levels = look.ink * ink + paper * (1 - ink) + random.normal(0, max(look.noise, 1e-9), ink.shape)
    return Image.fromarray(np.uint8(np.clip(levels, 0, 255)))


def photographed(digit: np.ndarray, random: np.random.Generator) -> Image.Image:
    """One of MNIST's pictures, uint8 (28, 28), on paper: enlarged, inverted, blurred, somewhere in a larger picture."""
    side = int(random.integers(140, 420))
    enlarged = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.new("L", (side * 2, round(side * 1.7)))
    mask.paste(enlarged, (int(random.integers(0, side)), int(random.integers(0, round(side * 0.7)))))
    mask = mask.filter(ImageFilter.GaussianBlur(side / 28 * random.uniform(0.2, 0.8)))
    ink = np.asarray(mask, dtype=np.float64) / 255
    levels = random.uniform(180, 250) * (1 - ink) + random.uniform(0, 60) * ink + random.normal(0, 3, ink.shape)
    return Image.fromarray(np.uint8(np.clip(levels, 0, 255)))
