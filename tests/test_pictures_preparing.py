"""The 28x28 layout, whatever the picture was; and pictures without a digit."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_digits import LOOKS, Look, drawn
from scipy import ndimage

from mnist_fast.pictures import EmptyPictureError, prepare


def picture(look: Look, digit: int = 5) -> np.ndarray:
    return np.asarray(drawn(digit, 0, look, np.random.default_rng(3)))


@pytest.mark.parametrize("digit", [1, 5])
@pytest.mark.parametrize("look", LOOKS)
def test_layout(look: str, digit: int) -> None:
    result = prepare(picture(LOOKS[look], digit))
    assert (result.dtype, result.shape, result.max()) == (np.uint8, (28, 28), 255)
    rows, columns = np.flatnonzero(result.any(axis=1)), np.flatnonzero(result.any(axis=0))
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    assert ndimage.center_of_mass(result) == pytest.approx((14, 14), abs=0.51)
    assert (result > 127).mean() < 0.35  # white on black


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_gives_about_the_same(look: str) -> None:
    clean, other = (prepare(picture(x)).astype(float) for x in (LOOKS["clean"], LOOKS[look]))
    # A smooth edge is at other grey levels where it falls between pixels, and the pens have other widths.
    smooth = [ndimage.gaussian_filter(p, 1.0) for p in (clean, other)]
    assert np.corrcoef(smooth[0].ravel(), smooth[1].ravel())[0, 1] > 0.85


def test_inversion() -> None:
    on_paper = picture(LOOKS["clean"])
    assert np.array_equal(prepare(on_paper), prepare(on_paper, "yes"))
    assert np.array_equal(prepare(255 - on_paper), prepare(255 - on_paper, "no"))
    assert np.abs(prepare(on_paper).astype(int) - prepare(255 - on_paper)).max() <= 1
    assert not np.array_equal(prepare(on_paper), prepare(on_paper, "no"))


def test_strokes_that_touch_the_border() -> None:
    on_paper = picture(LOOKS["thick"])
    rows, columns = (np.flatnonzero((on_paper < 128).any(axis=axis)) for axis in (1, 0))
    tight = on_paper[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    apart, close = (ndimage.gaussian_filter(prepare(p).astype(float), 1) for p in (on_paper, tight))
    assert np.corrcoef(apart.ravel(), close.ravel())[0, 1] > 0.95


def test_the_table_beside_the_paper_is_no_digit() -> None:
    on_paper = picture(LOOKS["clean"]).copy()
    on_table = np.concatenate([on_paper, np.full((280, 20), 60, dtype=np.uint8)], axis=1)
    assert np.abs(prepare(on_table).astype(int) - prepare(on_paper)).mean() < 3


def test_specks_are_no_digit() -> None:
    speckled = picture(LOOKS["clean"]).copy()
    for row, column in ((10, 10), (260, 20), (30, 250)):
        speckled[row : row + 5, column : column + 5] = 0
    assert np.abs(prepare(speckled).astype(int) - prepare(picture(LOOKS["clean"]))).mean() < 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 3), (28, 28), (200, 300)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_one_colour_has_no_digit(size: tuple[int, int], level: int) -> None:
    with pytest.raises(EmptyPictureError, match="no digit found"):
        prepare(np.full(size, level, dtype=np.uint8))


@pytest.mark.parametrize("noise", [1, 5, 20, 60])
def test_noise_has_no_digit(noise: int) -> None:
    for seed in range(5):
        levels = 150 + np.random.default_rng(seed).normal(0, noise, (200, 300)) + np.linspace(-40, 40, 300)
        with pytest.raises(EmptyPictureError):
            prepare(np.uint8(levels.clip(0, 255)))


@pytest.mark.parametrize("size", [(3, 3), (1, 30), (5, 90), (90, 5)])
def test_any_size(size: tuple[int, int]) -> None:
    levels = np.full(size, 255, dtype=np.uint8)
    levels[size[0] // 2, size[1] // 2] = 0
    assert prepare(levels).shape == (28, 28)
