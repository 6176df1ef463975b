"""What was built and what this machine runs, for programs (``backend_info``) and people (``mnist-fast doctor``)."""

from __future__ import annotations

import ctypes
from typing import Any

import torch

from mnist_fast.ops import library
from mnist_fast.version import __version__


def backend_info() -> dict[str, Any]:
    """Facts about the kernels of this installation on this machine.

    Returns:
        ``version``: of this package. ``torch``: the version in use; ``built_with_torch``: the one at build time.
        ``cpu``: ``available``; ``isa``: the instruction set in use, or None; ``isas``: those this machine can run, best
        first; ``winograd``: whether that algorithm serves where it is faster; ``threads``; ``reason``: why the kernels
        are missing, or None.
        ``cuda``: ``built``: whether the library was built; ``architectures`` it has code for; ``available``: whether
        CUDA tensors run through our kernels; ``reason``: why not, or None.
        ``backend``: "auto", "fused" or "stock", from ``MNIST_FAST_BACKEND``.
    """
    built = library.build_info()
    core = library.core
    return {
        "version": __version__,
        "torch": torch.__version__,
        "built_with_torch": built.get("torch"),
        "backend": library.backend,
        "cpu": {
            "available": core is not None,
            "isa": core.active_isa() if core else None,
            "isas": core.available_isas() if core else [],
            "winograd": core.winograd() if core else None,
            "threads": torch.get_num_threads(),
            "compiler": built.get("compiler"),
            "reason": library.missing,
        },
        "cuda": _cuda_info(built),
    }


def _cuda_info(built: dict[str, Any]) -> dict[str, Any]:
    path = library.DIRECTORY / "libmnist_fast_cuda.so"
    info: dict[str, Any] = {"built": path.exists(), "architectures": [], "available": False}
    if not path.exists():
        return info | {"reason": built.get("cuda_error") or "the CUDA library was not built"}
    if torch.version.cuda is None:
        return info | {"reason": f"torch {torch.__version__} is a CPU-only build"}
    try:
        cuda = ctypes.CDLL(str(path))
    except OSError as error:
        return info | {"reason": f"the CUDA library does not load: {str(error).splitlines()[0]}"}
    cuda.mnist_fast_cuda_architectures.restype = ctypes.c_char_p
    info["architectures"] = cuda.mnist_fast_cuda_architectures().decode().split(",")
    if not torch.cuda.is_available():
        return info | {"reason": "torch finds no CUDA device on this machine"}
    return info | {"reason": "this version has no CUDA kernels yet; CUDA tensors run through the stock operators"}
