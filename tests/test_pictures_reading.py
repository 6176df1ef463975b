"""Picture files of every mode and state become the same grey picture, or one line."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_fast.errors import DataError
from mnist_fast.pictures import find_pictures, read_picture


def scene() -> Image.Image:
    """Dark on light, the same in no two corners."""
    levels = np.full((40, 30), 230, dtype=np.uint8)
    levels[5:15, 3:12] = 40
    return Image.fromarray(levels)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp", "tif"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    scene().save(tmp_path / f"a.{suffix}")
    read = read_picture(tmp_path / f"a.{suffix}")
    assert (read.dtype, read.shape) == (np.uint8, (40, 30))
    assert np.abs(read.astype(int) - np.asarray(scene())).mean() < 3  # what JPEG leaves at the edges


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_modes(tmp_path: Path, mode: str) -> None:
    scene().convert(mode).save(tmp_path / "a.tif")
    assert Image.open(tmp_path / "a.tif").mode == mode
    read = read_picture(tmp_path / "a.tif").astype(int)
    assert read[10, 6] < 128 < read[30, 20]


@pytest.mark.parametrize(
    ("mode", "dtype", "top"), [("I;16", np.uint16, 60_000), ("I", np.int32, 60_000), ("F", np.float32, 1.0)]
)
def test_deep_pictures(tmp_path: Path, mode: str, dtype: type, top: float) -> None:
    levels = np.asarray(scene(), dtype=np.float64) / 255 * top
    picture = Image.fromarray(levels.astype(dtype))
    assert picture.mode == mode
    picture.save(tmp_path / "a.tif")
    read = read_picture(tmp_path / "a.tif")
    assert (read[10, 6], read[30, 20]) == (0, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = scene().transpose(undo[orientation]) if orientation in undo else scene()
    stored.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "a.png"), np.asarray(scene()))


@pytest.mark.parametrize(("ink", "paper"), [((0, 0, 0), 255), ((255, 255, 255), 0), ((20, 40, 200), 255)])
def test_a_drawing_in_an_empty_layer(tmp_path: Path, ink: tuple[int, int, int], paper: int) -> None:
    layer = Image.new("RGBA", (30, 40))
    layer.paste((*ink, 255), (3, 5, 12, 15))
    layer.save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png")
    assert read[30, 20] == paper
    assert abs(int(read[10, 6]) - paper) > 200


def test_transparent_corners_do_not_show(tmp_path: Path) -> None:
    card = scene().convert("RGBA")
    alpha = np.full((40, 30), 255, dtype=np.uint8)
    alpha[-8:] = 0
    card.putalpha(Image.fromarray(alpha))
    card.save(tmp_path / "a.png")
    assert set(read_picture(tmp_path / "a.png")[20:].ravel()) == {230}


def test_ink_of_the_brightness_of_its_paper(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 40), (255, 255, 255))
    picture.paste((255, 255, 0), (3, 5, 12, 15))  # yellow
    picture.save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png")
    assert (read[10, 6], read[30, 20]) == (0, 255)


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    Image.new("L", (4000, 3000)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").shape == (450, 600)


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 1000)
        + b"IDAT"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello", "is no picture that can be read"),
        (b"", "is no picture that can be read"),
        (b"<html><body>404</body></html>", "is no picture that can be read"),
        (png_header(100, 100), "cannot be decoded"),
        # Nothing follows the header: decoding would find them damaged instead.
        (png_header(4001, 4000), "4001x4000 is more than 16 megapixels"),
        (png_header(100_000, 100_000), "more than 16 megapixels"),
        (None, "No such file"),
    ],
    ids=["text", "nothing", "a web page", "header only", "16 megapixels", "a decompression bomb", "missing"],
)
def test_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif"])
def test_cut_anywhere(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    scene().save(path)
    content = path.read_bytes()
    for length in range(0, len(content) - 12, max(1, len(content) // 40)):
        path.write_bytes(content[:length])
        with contextlib.suppress(DataError):  # else only what comes after the pixels is missing
            assert read_picture(path).shape == (40, 30)


def test_folders(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "deeper.png").mkdir()
    (tmp_path / "empty").mkdir()
    assert find_pictures([tmp_path, "x.gif"]) == [tmp_path / "a.jpg", tmp_path / "b.PNG", Path("x.gif")]
    with pytest.raises(DataError, match="no pictures in the folder"):
        find_pictures([tmp_path / "empty"])
