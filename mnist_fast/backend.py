"""What was built and what this machine runs, for programs (``backend_info``) and people (``mnist-fast doctor``)."""

from __future__ import annotations

from typing import Any

import torch

from mnist_fast.ops import cuda, library
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
        "cuda": _cuda_info(),
    }


def _cuda_info() -> dict[str, Any]:
    reason = cuda.missing or cuda.why_not_usable(torch.cuda.current_device() if torch.cuda.is_available() else 0)
    return {
        "built": cuda.PATH.exists(),
        "architectures": cuda.architectures(),
        "available": reason is None,
        "reason": reason,
    }
