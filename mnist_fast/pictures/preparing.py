"""From a grey picture of a digit to 28x28 as MNIST has them: white on black, 20x20, centred by mass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mnist_fast.errors import DataError

SIDE = 28
_DIGIT_SIDE = 20
_WORKING_SIDE = 160  # of the digit, while its strokes are measured
_STROKE = 2.2  # pixels of the 28x28: thinner strokes are thickened, or they would fade
# Windows and blurs are parts of the picture's longer side.
_BACKGROUND_WINDOW = 0.4  # wider than a stroke, narrower than a shadow
_SMOOTHING = 0.003
# What counts as a digit: how far ink is from the paper, in grey levels and in standard deviations of the paper.
_LEAST_CONTRAST = 12.0
_LEAST_SEPARATION = 4.0
_SPECK = 0.04  # of the largest connected part of the digit
_EDGE_SHARE = 0.15  # of the picture's border: what covers more is the edge of the paper or a table, not a stroke

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class EmptyPictureError(DataError):
    """A picture in which nothing stands out from the background."""


def prepare(gray: npt.NDArray[np.uint8], invert: str = "auto") -> npt.NDArray[np.uint8]:
    """Find the digit in a picture and lay it out as MNIST does.

    Args:
        gray: uint8 (H, W), one digit on a background that may be unevenly lit.
        invert: whether the digit is darker than the background: ``yes`` (as on paper), ``no`` (as on a blackboard), or
            ``auto``: what lies within the border is compared with the border.

    Returns:
        uint8 (28, 28), white on black.

    Raises:
        EmptyPictureError: no digit found.
    """
    # The repeated edge lets a stroke that touches it have background beside it.
    levels = gray.astype(np.float64)
    levels = ndimage.gaussian_filter(levels, _SMOOTHING * max(levels.shape), mode="nearest")
    if invert == "yes" or (invert == "auto" and _is_darker_than_border(levels)):
        levels = 255 - levels
    ink = levels - _background(levels)
    threshold = _otsu(ink)
    mask = ink > threshold
    if not mask.any() or mask.all():
        raise _nothing_found()
    paper, stroke = ink[~mask], ink[mask].mean()
    distance = stroke - paper.mean()
    if distance < _LEAST_CONTRAST or distance < _LEAST_SEPARATION * paper.std():
        raise _nothing_found()
    mask = _without_specks(mask)
    # Half-covered pixels keep their share, so that the edges stay smooth; the paper's own noise goes.
    low = (paper.mean() + threshold) / 2
    ink = np.clip((ink - low) / (stroke - low), 0, 1) * ndimage.binary_dilation(mask, iterations=2)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _centred(_resized(_thickened(_resized(digit, _WORKING_SIDE, enlarge=False)), _DIGIT_SIDE))


def _nothing_found() -> EmptyPictureError:
    return EmptyPictureError("no digit found: nothing stands out from the background")


def _is_darker_than_border(levels: Floats) -> bool:
    """Whether what differs from the border, continued over the picture as a smooth surface, is mostly darker."""
    levels = levels[:: max(1, levels.shape[0] // 100), :: max(1, levels.shape[1] // 100)]  # enough for this
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, size) for size in levels.shape), indexing="ij")
    terms = np.stack([np.ones_like(rows), rows, columns, rows * columns, rows**2, columns**2], axis=-1)
    border = _border(levels.shape)
    values, chosen = levels[border], np.ones(border.sum(), dtype=bool)
    for _ in range(3):  # strokes that reach the border are left out step by step
        surface, *_ = np.linalg.lstsq(terms[border][chosen], values[chosen], rcond=None)
        errors = np.abs(values - terms[border] @ surface)
        chosen = errors <= 2 * np.median(errors) + 1
    return bool(((levels - terms @ surface) ** 3).sum() < 0)  # cubes: ink counts, noise does not


def _border(shape: tuple[int, ...]) -> Mask:
    width = max(1, min(shape) // 20)
    border = np.ones(shape, dtype=bool)
    border[width:-width, width:-width] = False
    return border


def _background(levels: Floats) -> Floats:
    """What the picture would be without the strokes, which are lighter: whatever is narrower than the window goes."""
    window = max(3, int(_BACKGROUND_WINDOW * max(levels.shape)) | 1)
    return ndimage.grey_opening(levels, size=(window, window), mode="nearest")


def _otsu(values: Floats) -> float:
    """The threshold that divides the values into two classes of least variance (Otsu, 1979)."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * centres).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][np.nan_to_num(between).argmax()])


def _without_specks(mask: Mask) -> Mask:
    """The connected parts that can belong to a digit."""
    parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    border = _border(mask.shape)
    at_edge = np.bincount(parts[border], minlength=count + 1)[1:] > _EDGE_SHARE * border.sum()
    if not at_edge.all():
        areas[at_edge] = 0
    return np.isin(parts, 1 + np.flatnonzero(areas >= max(1, _SPECK * areas.max())))


def _thickened(ink: Floats) -> Floats:
    """The digit with strokes that will not fade when it is made small."""
    mask = np.pad(ink > 0.5, 1)
    # Across a stroke of width w the distance to the edge has the mean w / 4.
    width = 4 * ndimage.distance_transform_edt(mask)[mask].mean()
    missing = round((_STROKE * max(ink.shape) / _DIGIT_SIDE - width) / 2)
    if missing <= 0:
        return ink
    reach = np.arange(-missing, missing + 1)
    disk = reach[:, None] ** 2 + reach**2 <= missing**2
    return ndimage.grey_dilation(np.pad(ink, missing), footprint=disk)


def _resized(ink: Floats, side: int, *, enlarge: bool = True) -> Floats:
    """The digit with its longer side as given and its brightest pixel 1."""
    longer = max(ink.shape)
    if longer > side or enlarge:
        height, width = (max(1, round(size * side / longer)) for size in ink.shape)
        small = Image.fromarray(ink.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        ink = np.clip(np.asarray(small, dtype=np.float64), 0, None)
    return ink / ink.max()


def _centred(digit: Floats) -> npt.NDArray[np.uint8]:
    # The first pixel counts as 0: MNIST has its centres of mass at 14, not in the middle of 28 pixels at 13.5.
    picture = np.zeros((SIDE, SIDE), dtype=np.uint8)
    middle = ndimage.center_of_mass(digit)
    top, left = (
        min(max(round(SIDE / 2 - centre), 0), SIDE - size) for centre, size in zip(middle, digit.shape, strict=True)
    )
    picture[top : top + digit.shape[0], left : left + digit.shape[1]] = np.uint8(np.clip(digit, 0, 1) * 255 + 0.5)
    return picture
