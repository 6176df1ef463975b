"""Runs random blocks on operands that touch pages which nobody may read or write: ``python guard_pages.py SHAPES``.

An access beyond an operand ends the process, so tests run it as one of its own. It says what it does before doing it.
"""

from __future__ import annotations

import ctypes
import mmap
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from cases import any_block, normals
from oracle import ISAS, fused, isa
from torch import Tensor

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_NO_ACCESS = 0


@contextmanager
def guarded(tensor: Tensor, at_end: bool) -> Iterator[Tensor]:
    """A copy with the same strides that ends where a forbidden page begins, or begins where one ends."""
    size = tensor.numel() * tensor.element_size()
    body = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    total = body + 2 * mmap.PAGESIZE
    start = _libc.mmap(None, total, _NO_ACCESS, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if start in (None, ctypes.c_void_p(-1).value):
        raise MemoryError(f"no address space for {total} bytes")
    try:
        first = start + mmap.PAGESIZE
        if _libc.mprotect(first, body, mmap.PROT_READ | mmap.PROT_WRITE):
            raise OSError(ctypes.get_errno(), "mprotect")
        memory = (ctypes.c_char * size).from_address(first + body - size if at_end else first)
        flat = torch.frombuffer(memory, dtype=tensor.dtype)
        yield flat.as_strided(tensor.shape, tensor.stride()).copy_(tensor)
    finally:
        _libc.munmap(start, total)


def main(shapes: int) -> None:
    choice = random.Random(0).choice
    for _ in range(shapes):
        case, n = any_block(choice)
        tensors = normals(case, max(n, 1), choice([torch.float32, torch.float64, torch.bfloat16]))
        if choice([False, True]):
            tensors = tensors.map(lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t)
        for name in ISAS:
            for at_end in (False, True):
                edge = "end" if at_end else "begin"
                print(f"{name}, {tensors.x.dtype} operands {edge} at a guard, batch {n}, {case!r}", flush=True)
                with isa(name), ExitStack() as memory:
                    t = tensors.map(lambda t, at_end=at_end: memory.enter_context(guarded(t, at_end)))
                    leaves = [leaf.requires_grad_() for leaf in (t.x, t.w, t.b) if leaf is not None]
                    torch.autograd.grad(fused(t.x, t.w, t.b, case), leaves, t.g)
    print(f"{shapes} shapes stay within their operands")


if __name__ == "__main__":
    main(int(sys.argv[1]))
