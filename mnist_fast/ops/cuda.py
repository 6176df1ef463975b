"""The library with the CUDA kernels: loads it, or knows why CUDA tensors run through the stock operators."""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache

import torch

from mnist_fast.errors import UsageError
from mnist_fast.ops import library

PATH = library.DIRECTORY / "libmnist_fast_cuda.so"


def _load() -> tuple[ctypes.CDLL | None, str | None]:
    """The library and None, or None and the reason. It needs no GPU and no driver to load."""
    if library.missing is not None:
        return None, library.missing
    if not PATH.exists():
        return None, library.build_info().get("cuda_error") or "the CUDA library was not built"
    if torch.version.cuda is None:
        return None, f"torch {torch.__version__} is a CPU-only build"
    try:
        torch.ops.load_library(str(PATH))
        loaded = ctypes.CDLL(str(PATH))
    except OSError as error:
        return None, f"the CUDA library does not load: {str(error).splitlines()[0]}"
    for name in ("architectures", "why_not_covered", "why_not_runnable"):
        getattr(loaded, f"mnist_fast_cuda_{name}").restype = ctypes.c_char_p
    return loaded, None


_library, missing = _load()  # `missing`: why there are no kernels, or None


def set_direct(on: bool) -> None:
    """Whether small layers go to the kernels made for them (they do at the start), or every layer to the tensor cores.

    For comparisons: not while kernels run, and what a CUDA graph has recorded stays. Does nothing where the library is
    missing.
    """
    if _library is not None:
        _library.mnist_fast_cuda_set_direct(int(on))


_direct = os.environ.get("MNIST_FAST_CUDA_DIRECT", "1")
if _direct not in ("0", "1"):
    raise UsageError(f"MNIST_FAST_CUDA_DIRECT={_direct}: choose 0 (tensor cores for small layers, too) or 1")
if _direct == "0":
    set_direct(False)


def architectures() -> list[str]:
    """Compute capabilities that the library has machine code for, such as "90"; empty where it is missing."""
    return [] if _library is None else _library.mnist_fast_cuda_architectures().decode().split(",")


@lru_cache
def why_not_usable(device: int) -> str | None:
    """None where the kernels run on the CUDA device of that index, else the reason."""
    if missing is not None:
        return f"no CUDA kernels: {missing}"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device on this machine"
    card, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    oldest = divmod(int(architectures()[0]), 10)
    if capability < oldest:
        return f"no CUDA kernels for {card}: compute capability {_version(capability)}, needed {_version(oldest)}"
    reason = _why_not_runnable(device)
    return None if reason is None else f"no CUDA kernels for {card}: {reason} (built with CUDA {_toolkit()})"


def _version(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))


def _toolkit() -> str:
    assert _library is not None
    return _version(divmod(_library.mnist_fast_cuda_runtime_version() // 10, 100))


def _why_not_runnable(device: int) -> str | None:
    """None where the driver loads kernels on a device, else its reason."""
    assert _library is not None
    with torch.cuda.device(device):
        reason = _library.mnist_fast_cuda_why_not_runnable(device)
    return None if reason is None else reason.decode()


@lru_cache(maxsize=4096)
def why_not_covered(sizes: tuple[int, ...], element_bytes: int) -> str | None:
    """None where the kernels cover a block, else the reason; only while the library is there.

    Args:
        sizes: c, h, w, o, kh, kw, then stride, padding, pool size and pool stride, each (height, width).
        element_bytes: 2 or 4.
    """
    assert _library is not None
    reason = _library.mnist_fast_cuda_why_not_covered(
        ctypes.byref((ctypes.c_int64 * len(sizes))(*sizes)), element_bytes
    )
    return None if reason is None else f"no CUDA kernel for {reason.decode()}"
