"""Picture files as one plane of grey levels, upright and without transparency."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mnist_fast.errors import DataError

MAX_PIXELS = 16_000_000

_WORKING_SIDE = 600  # pixels: enough for a digit that fills a twentieth of a photograph
# Brightness spread among the opaque pixels above which the drawing is in the colours, not in the transparency.
_COLOUR_SPREAD = 24


def find_pictures(paths: Iterable[str | Path]) -> list[Path]:
    """The files among ``paths``, and in place of each folder the pictures directly in it, by name.

    Raises:
        DataError: a folder without pictures.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        suffixes = Image.registered_extensions()
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes and file.is_file())
        if not inside:
            raise DataError(f"no pictures in the folder {path}; name the files, or a folder with PNG or JPEG files")
        found += inside
    return found


def read_picture(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read a PNG, JPEG or whatever else Pillow knows: of any mode, turned as EXIF says, of several frames the first.

    Returns:
        uint8 (H, W), the longer side at most 600 pixels: the colour channel in which the picture has most contrast.

    Raises:
        DataError: as :func:`decode`.
    """
    upright = decode(path, _eight_bits)
    upright.thumbnail((_WORKING_SIDE, _WORKING_SIDE), Image.Resampling.BOX)
    colours = _without_transparency(upright)
    return colours[..., colours.std(axis=(0, 1)).argmax()]  # blue ink, say, is clearest in red


def decode(
    path: str | Path | IO[bytes], convert: Callable[[Image.Image], Image.Image], *, name: str | None = None
) -> Image.Image:
    """What ``convert`` makes of the first picture in a file, turned as EXIF says.

    Args:
        path: of the file, or the file itself, open.
        name: what errors call it; None: ``path``.

    Raises:
        DataError: no such file, no picture, a damaged one, or one of more than 16 megapixels, which is not decoded.
    """
    name = str(path) if name is None else name
    Image.init()
    formats = [name for name in Image.OPEN if name != "EPS"]  # a program, which Pillow would have Ghostscript run
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about sizes that are refused below and damaged metadata
            with Image.open(path, formats=formats) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise _too_large(name, f"{image.width}x{image.height} is")
                image.load()
                return convert(ImageOps.exif_transpose(image))
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(name, "it has") from None
    except UnidentifiedImageError:
        raise DataError(f"{name} is no picture that can be read; save it as PNG or JPEG") from None
    except OSError as error:
        if error.strerror is not None:
            raise DataError(f"cannot read the picture {name}: {error.strerror}") from None
        raise _undecodable(name, error) from None
    except Exception as error:  # Pillow's readers of single formats raise all kinds on damaged files
        raise _undecodable(name, error) from None


def _too_large(name: str, size: str) -> DataError:
    return DataError(f"the picture {name} is too large: {size} more than 16 megapixels; make it smaller or crop it")


def _undecodable(name: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"the picture {name} cannot be decoded: {reason[:200]}")


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture as RGBA. Of 16 or 32 bits Pillow would keep the lowest 8: these are spread over the range instead."""
    if image.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        low, high = values.min(), values.max()
        image = Image.fromarray(np.uint8((values - low) / max(high - low, 1e-12) * 255))
    return image.convert("RGBA")


def _without_transparency(image: Image.Image) -> npt.NDArray[np.uint8]:
    """RGBA over a background that keeps the drawing visible, as uint8 (H, W, 3).

    A digit that is the only thing in its layer stands before the opposite of its own brightness; a picture with
    transparent corners, say, before its own.
    """
    rgba = np.asarray(image, dtype=np.float64)
    colours, alpha = rgba[..., :3], rgba[..., 3:] / 255
    opaque = colours[alpha[..., 0] > 0.5]
    background = np.full(3, 255.0)
    if len(opaque):
        if opaque.mean(axis=1).std() > _COLOUR_SPREAD:
            background = np.median(opaque, axis=0)
        elif opaque.mean() > 127:
            background = np.zeros(3)
    return np.uint8(colours * alpha + background * (1 - alpha) + 0.5)
