"""Ways in which an IDX file can be damaged, plain and compressed."""

from __future__ import annotations

import gzip
import struct

from data_files import idx_bytes, small_images

NAME = "train-images-idx3-ubyte"
IMAGES = small_images(10)
WHOLE = idx_bytes(IMAGES)
PACKED = gzip.compress(WHOLE, mtime=0)


def header(*shape: int, type_code: int = 0x08) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, type_code, len(shape), *shape)


DAMAGED = {
    "empty": b"",
    "one byte": b"\x00",
    "header cut": WHOLE[:9],
    "header only": WHOLE[:16],
    "one byte missing": WHOLE[:-1],
    "half": WHOLE[: len(WHOLE) // 2],
    "one byte too many": WHOLE + b"\x00",
    "twice": WHOLE + WHOLE,
    "wrong magic": b"\x01" + WHOLE[1:],
    "labels' magic": header(10) + bytes(10),
    "four dimensions": header(10, 1, 28, 28) + bytes(7840),
    "signed bytes": header(10, 28, 28, type_code=0x09) + bytes(7840),
    "floats": header(10, 28, 28, type_code=0x0D) + bytes(4 * 7840),
    "little-endian header": struct.pack("<IIII", 0x803, 10, 28, 28) + bytes(7840),
    "huge counts": header(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(7840),
    "counts whose product is 0 modulo 2^64": header(0x80000000, 0x80000000, 4) + bytes(16),
    "no images": header(0, 28, 28),
    "images without rows": header(10, 0, 28),
    "more images than announced": header(9, 28, 28) + bytes(7840),
    "web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "web page after white space": b"\n\n  <html></html>" + bytes(7840),
    "gzip without its suffix": PACKED,
}
DAMAGED_PACKED = {
    "no bytes": b"",
    "empty content": gzip.compress(b""),
    "truncated": PACKED[: len(PACKED) // 2],
    "trailer missing": PACKED[:-8],
    "not compressed": WHOLE,
    "web page": b"<html></html>",
    "wrong checksum": PACKED[:-8] + bytes(4) + PACKED[-4:],
    "wrong length": PACKED[:-4] + bytes(4),
    "flipped bits": PACKED[:100] + bytes([PACKED[100] ^ 0xFF]) + PACKED[101:],
    "no deflate stream": PACKED[:10] + b"\xff" * 100,
    "rubbish after the end": PACKED + b"rubbish",
    "content cut": gzip.compress(WHOLE[:-1]),
    "content too long": gzip.compress(WHOLE + b"\x00"),
    "content in two streams, the second too much": PACKED + gzip.compress(b"\x00"),
    "content of another kind": gzip.compress(b"<html></html>"),
}
