"""torch's settings while a benchmark runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_UNLIMITED = 10**6


@contextmanager
def torch_settings(device: torch.device, threads: int | None, *, compiled: bool = False) -> Iterator[None]:
    """While it is entered: ``threads`` on the CPU (None: as they are), no TF32 on a GPU; ``compiled``: torch compiles
    whatever number of networks, where it would take many for versions of one and give up.
    """
    before = torch.get_num_threads()
    with ExitStack() as stack:
        if threads is not None:
            torch.set_num_threads(threads)
            stack.callback(torch.set_num_threads, before)
        if device.type == "cuda":
            stack.enter_context(torch.cuda.device(device))
            # float32 shall mean float32 in every mode: cuDNN's convolutions default to TF32, with 10 bits of mantissa.
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        if compiled:
            torch.compiler.reset()
            limits = {"recompile_limit": _UNLIMITED, "accumulated_recompile_limit": _UNLIMITED}
            stack.enter_context(torch._dynamo.config.patch(limits))
        yield
