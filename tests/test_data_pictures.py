"""Picture files of every kind become grey levels, or an error that names them."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_fast.data.pictures import read_grey
from mnist_fast.errors import DataError

LEVELS = np.random.RandomState(0).randint(0, 256, (20, 30)).astype(np.uint8)
GREY = Image.fromarray(LEVELS)


def palette() -> Image.Image:
    picture = Image.fromarray(LEVELS // 16, mode="P")
    picture.putpalette([level for index in range(16) for level in (index * 17,) * 3])
    return picture


def saved(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("picture", "file", "expected", "tolerance"),
    [
        (GREY, "l.png", LEVELS, 0),
        (GREY, "l.bmp", LEVELS, 0),
        (GREY, "l.gif", LEVELS, 0),
        (GREY, "l.tiff", LEVELS, 0),
        (GREY, "l.pgm", LEVELS, 0),
        (GREY.resize((600, 400), Image.Resampling.BICUBIC), "l.jpg", None, 8),
        (GREY.convert("RGB"), "rgb.png", LEVELS, 0),
        (GREY.convert("RGB"), "rgb.webp", LEVELS, 0),
        (GREY.convert("CMYK"), "cmyk.tiff", LEVELS, 1),
        (GREY.convert("YCbCr"), "ycbcr.tiff", LEVELS, 1),
        (GREY.convert("RGBA"), "rgba.png", LEVELS, 0),
        (GREY.convert("LA"), "la.png", LEVELS, 0),
        (palette(), "palette.png", LEVELS // 16 * 17, 0),
        (Image.fromarray(LEVELS > 99), "bits.png", (LEVELS > 99) * 255, 0),
        (Image.fromarray(LEVELS.astype(np.uint16) * 257), "16bits.png", LEVELS, 0),
        (Image.fromarray(LEVELS.astype(np.uint16) * 257), "16bits.tiff", LEVELS, 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_mode(
    tmp_path: Path, picture: Image.Image, file: str, expected: np.ndarray | None, tolerance: int
) -> None:
    options = {"lossless": True} if file.endswith("webp") else {}
    grey = read_grey(saved(picture, tmp_path / file, **options))
    assert grey.mode == "L"
    expected = np.asarray(picture) if expected is None else expected
    assert np.abs(np.asarray(grey).astype(int) - expected).mean() <= tolerance


def test_16_bits_are_rounded_to_8(tmp_path: Path) -> None:
    levels = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    grey = np.asarray(read_grey(saved(Image.fromarray(levels), tmp_path / "levels.png")))
    assert np.array_equal(grey, np.round(levels / 257))


@pytest.mark.parametrize(("drawn", "paper"), [(0, 255), (90, 255), (255, 0), (200, 0)])
def test_transparent_paper_is_the_opposite_of_what_is_drawn(tmp_path: Path, drawn: int, paper: int) -> None:
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[..., :3] = 77  # of transparent pixels nobody sees the colour
    pixels[5:9, 3:20] = (drawn, drawn, drawn, 255)
    grey = np.asarray(read_grey(saved(Image.fromarray(pixels), tmp_path / "drawn.png")))
    assert np.all(grey[5:9, 3:20] == drawn)
    grey = np.delete(grey, slice(5, 9), axis=0)
    assert np.all(grey == paper)


def test_turned_upright_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    grey = read_grey(saved(GREY, tmp_path / "turned.png", exif=exif))
    assert np.array_equal(np.asarray(grey), np.rot90(LEVELS, -1))


def test_of_several_pictures_the_first(tmp_path: Path) -> None:
    path = saved(GREY, tmp_path / "two.gif", save_all=True, append_images=[Image.new("L", GREY.size)])
    assert np.array_equal(np.asarray(read_grey(path)), LEVELS)


def png_header(width: int, height: int) -> bytes:
    """A PNG file that announces a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("size", [(4001, 4000), (20_000, 20_000), (2**31 - 1, 2**31 - 1), (16_000_001, 1)])
def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "huge.png").write_bytes(png_header(*size))
    check_refused(tmp_path / "huge.png", "pixel")


@pytest.mark.parametrize("file", ["whole.png", "whole.jpg", "whole.gif", "whole.bmp", "whole.tiff", "whole.webp"])
def test_truncated_pictures_are_refused(tmp_path: Path, file: str) -> None:
    whole = saved(GREY, tmp_path / file).read_bytes()
    for length in (0, 1, 10, len(whole) // 2):
        (tmp_path / file).write_bytes(whole[:length])
        check_refused(tmp_path / file)


def test_altered_pngs_are_refused(tmp_path: Path) -> None:
    """PNG has checksums: of 200 flipped bits among its pixels none passes."""
    whole = saved(GREY, tmp_path / "flipped.png").read_bytes()
    first, last = whole.index(b"IDAT"), whole.index(b"IEND") - 8
    for place in np.random.RandomState(0).randint(first * 8, last * 8, 200):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / "flipped.png").write_bytes(flipped)
        check_refused(tmp_path / "flipped.png")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    contents = {"page.png": b"<html></html>", "notes.txt": b"notes", "empty.png": b""}
    for file, content in contents.items():
        (tmp_path / file).write_bytes(content)
        check_refused(tmp_path / file, "no picture")
    check_refused(saved(GREY, tmp_path / "program.eps"), "no picture")  # Ghostscript would run it
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for file in ("folder.png", "pipe.png", "none.png"):
        check_refused(tmp_path / file, "not a regular file")


@pytest.mark.parametrize(
    ("levels", "words"),
    [(LEVELS.astype(np.float32), "floating-point"), (LEVELS.astype(np.int32) * 1000, "16 bits")],
)
def test_grey_levels_of_unknown_range_are_refused(tmp_path: Path, levels: np.ndarray, words: str) -> None:
    check_refused(saved(Image.fromarray(levels), tmp_path / "levels.tiff"), words)


def check_refused(path: Path, words: str = "") -> None:
    with pytest.raises(DataError) as caught:
        read_grey(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
