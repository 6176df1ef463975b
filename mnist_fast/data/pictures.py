"""From a picture file of any kind to grey levels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mnist_fast.errors import DataError

# No others: Pillow hands some (EPS) to outside programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_MAX_PIXELS = 16_000_000


def read_grey(path: Path) -> Image.Image:
    """A picture in 8-bit grey (mode ``L``), upright as its EXIF data says.

    Of several pictures in a file the first. What is transparent takes on the opposite of what is drawn: white under
    dark strokes, black under light ones.

    Raises:
        DataError: the file cannot be read, is no whole picture, has more than 16 million pixels (found out before
            decoding them), or grey levels whose range is not known.
    """
    if not path.is_file():  # a pipe would never end
        raise DataError(f"{path} is not a regular file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large or odd pictures, which are refused or read
            with Image.open(path, formats=_FORMATS) as picture:
                width, height = picture.size
                if width * height > _MAX_PIXELS:
                    raise DataError(f"{path} has {width}x{height} pixels, more than {_MAX_PIXELS:,}; make it smaller")
                picture.load()
                return _to_grey(ImageOps.exif_transpose(picture), path)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{path} is no picture ({', '.join(_FORMATS)}); move it away") from None
    except Exception as error:  # on a damaged file Pillow's decoders raise whatever they run into
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as a picture: {reason}") from None


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
