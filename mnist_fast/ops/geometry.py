"""The block's sizes as every layer below the public function passes them on."""

from __future__ import annotations

from typing import NamedTuple

Ints = tuple[int, ...] | list[int]
Size2d = int | tuple[int, ...] | list[int]


def pair(size: Size2d) -> Ints:
    """One number as two; anything else passes unchanged, so that stock can refuse what it does not take."""
    return (size, size) if isinstance(size, int) else size


class Geometry(NamedTuple):
    """Convolution, pooling and memory layout; the defaults are the operator's."""

    stride: Ints = (1, 1)
    padding: Ints = (0, 0)
    dilation: Ints = (1, 1)
    groups: int = 1
    relu: bool = True
    pool_size: Ints = (2, 2)
    pool_stride: Ints = (2, 2)
    contiguous_output: bool = False
