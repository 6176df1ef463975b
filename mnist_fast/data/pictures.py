"""Picture files as grey levels to train on: by one rule for all of a folder, whatever each picture looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mnist_fast.errors import DataError
from mnist_fast.pictures.reading import decode


def read_grey(path: Path) -> Image.Image:
    """A picture in 8-bit grey (mode ``L``), upright as its EXIF data says; of several in a file the first.

    Colours become their luminance; 16 bits are rounded to 8. What is transparent takes on the opposite of what is
    drawn: white under dark strokes, black under light ones.

    Raises:
        DataError: the file cannot be read, is no whole picture, has more than 16 million pixels (found out before
            decoding them), or grey levels whose range is not known.
    """
    if not path.is_file():  # a pipe would never end
        raise DataError(f"{path} is not a regular file")
    return decode(path, lambda picture: _to_grey(picture, path))


def _to_grey(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits; Pillow would cut them off at 255
        levels = np.asarray(picture, dtype=np.int64)
        if levels.min() < 0 or levels.max() > 0xFFFF:
            raise DataError(f"{path} has grey levels outside of 16 bits; store it in 8 or 16")
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    if picture.mode == "F":
        raise DataError(f"{path} has floating-point grey levels, whose range is not known; store it in 8 or 16 bits")
    if not picture.has_transparency_data:
        return picture.convert("L")
    grey, alpha = picture.convert("RGBA").convert("LA").split()
    weights = np.asarray(alpha, dtype=np.float64)
    drawn = float((np.asarray(grey) * weights).sum() / max(weights.sum(), 1.0))
    paper = Image.new("L", picture.size, 255 if drawn < 128 else 0)
    return Image.composite(grey, paper, alpha)
