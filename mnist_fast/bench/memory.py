"""Peak memory of one call, above what was allocated before it (parameters, optimizer state, input)."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate

import torch
from torch.autograd.profiler import profile


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Run ``call`` once, untimed, and return the highest sum of bytes allocated and not yet freed in it.

    Counts what goes through torch's allocator. Gradients from before the call must be cleared, or freeing them
    would count as a gain.
    """
    return _cuda_peak(call, device) if device.type == "cuda" else _cpu_peak(call)


def _cuda_peak(call: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = call()
    torch.cuda.synchronize(device)
    del result
    return int(torch.cuda.max_memory_allocated(device)) - before


def _cpu_peak(call: Callable[[], object]) -> int:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler chats about GPUs on standard error
    with profile(profile_memory=True) as recorded:
        result = call()
    del result
    assert recorded.kineto_results is not None
    changes = [
        (event.start_ns(), event.nbytes()) for event in recorded.kineto_results.events() if event.name() == "[memory]"
    ]
    return max(accumulate((nbytes for _, nbytes in sorted(changes)), initial=0))
