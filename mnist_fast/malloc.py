"""The C library's memory allocator, beside work that takes and frees the same large blocks in every step."""

from __future__ import annotations

import ctypes

# glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Let this process keep what it frees, from now on, where its C library is glibc; elsewhere nothing happens.

    By itself glibc gives a large block, or the end of its heap, back to the system as soon as it is free. The next
    training step gets the pages anew, each by a fault that clears it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # no block outside the heap: those go back whenever they are freed
        mallopt(_M_TRIM_THRESHOLD, -1)  # never
