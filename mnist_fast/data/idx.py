"""Read IDX files, plain or gzip-compressed, and refuse what is not whole.

An IDX file is a big-endian header (two zero bytes, a type code, the number of dimensions, each dimension as uint32)
and the values, row-major, up to the last byte of the file.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist_fast.errors import DataError

# type in a file's name -> type code, NumPy's type
_TYPES: dict[str, tuple[int, np.dtype[Any]]] = {"ubyte": (0x08, np.dtype("u1")), "int": (0x0C, np.dtype(">i4"))}
_MAX_BYTES = 1 << 30  # several times what any of these datasets has; stops decompression bombs


class DamagedFileError(DataError):
    """A file that is no whole file of its kind."""


class AlteredFileError(DamagedFileError):
    """A whole file whose content is not the published one."""


def read_idx(path: Path, sha256: str = "") -> Tensor:
    """Read a whole IDX file.

    Args:
        path: the file; its name says what it must hold (``…-idx3-ubyte``), and whether it is compressed (``.gz``).
        sha256: digest that its uncompressed content must have, where one is known.

    Returns:
        The values, in native byte order: uint8 or int32, at least one along each dimension.

    Raises:
        DamagedFileError: anything else than a whole IDX file of that type and number of dimensions.
        AlteredFileError: a whole one with another digest.
    """
    content = read_content(path)
    named = re.search(r"idx(\d)-(ubyte|int)(\.gz)?$", path.name)
    if named is None:
        raise DamagedFileError(f"{path}: the name does not end as IDX files' names do, in -idx3-ubyte for example")
    dimensions = int(named[1])
    type_code, dtype = _TYPES[named[2]]
    magic = bytes((0, 0, type_code, dimensions))
    header_bytes = 4 + 4 * dimensions

    if not content:
        raise DamagedFileError(f"{path} is empty")
    if content[:4] != magic:
        kind = "a web page" if content.lstrip()[:1] == b"<" else "no IDX file of the kind its name tells"
        raise DamagedFileError(f"{path} is {kind}: it starts with bytes {content[:4].hex()}, not {magic.hex()}")
    if len(content) < header_bytes:
        raise DamagedFileError(
            f"{path} is truncated: {len(content)} bytes, of which the header alone takes {header_bytes}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header_bytes])
    size = "x".join(map(str, shape))
    expected = header_bytes + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        fault = "is truncated" if len(content) < expected else "has bytes after its end"
        raise DamagedFileError(f"{path} {fault}: {len(content)} bytes, where its header ({size}) asks for {expected}")
    if 0 in shape:
        raise DamagedFileError(f"{path} holds no values: its header says {size}")
    if sha256 and (digest := hashlib.sha256(content).hexdigest()) != sha256:
        raise AlteredFileError(f"{path} is altered: its SHA-256 is {digest}, the published file's is {sha256}")

    values = np.frombuffer(content, dtype, offset=header_bytes).reshape(shape)
    return torch.from_numpy(values.astype(dtype.newbyteorder("="), copy=False))


def read_content(path: Path) -> bytearray:
    """The content of a file, uncompressed where its name ends in ``.gz``, as writable memory, which tensors want.

    Raises:
        DamagedFileError: it cannot be read, is larger than any file of these datasets, or is no whole gzip file.
    """
    content = bytearray()
    try:
        if not path.is_file():  # a pipe would never end
            raise DamagedFileError(f"{path} is not a regular file")
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while len(content) <= _MAX_BYTES and (chunk := file.read(1 << 22)):
                content += chunk
    except EOFError:
        raise DamagedFileError(f"{path} is truncated: its gzip stream has no end") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DamagedFileError(f"{path} is no whole gzip file: {error}") from None
    except OSError as error:
        raise DamagedFileError(f"cannot read {path}: {error.strerror or error}") from None
    if len(content) > _MAX_BYTES:
        raise DamagedFileError(f"{path} holds more than {_MAX_BYTES:,} bytes, which none of these datasets does")
    return content
