"""torch's settings while a benchmark runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def torch_settings(device: torch.device, threads: int | None) -> Iterator[None]:
    """While it is entered: ``threads`` on the CPU (None: as they are), and no TF32 on a GPU."""
    before = torch.get_num_threads()
    with ExitStack() as stack:
        if threads is not None:
            torch.set_num_threads(threads)
            stack.callback(torch.set_num_threads, before)
        if device.type == "cuda":
            stack.enter_context(torch.cuda.device(device))
            # float32 shall mean float32 in every mode: cuDNN's convolutions default to TF32, with 10 bits of mantissa.
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        yield
