"""Fused convolution + ReLU + max-pooling for PyTorch, and a fast trainer for MNIST-class networks built on it.

``import mnist_fast`` registers ``torch.ops.mnist_fast.conv_relu_maxpool2d``. Only the command line's own process
postpones that (and the seconds that ``import torch`` takes) until a command needs it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_fast.version import __version__

if TYPE_CHECKING:
    from mnist_fast import models as models
    from mnist_fast.backend import backend_info as backend_info
    from mnist_fast.fusion import fuse as fuse
    from mnist_fast.fusion import fusion_report as fusion_report
    from mnist_fast.fusion import unfuse as unfuse
    from mnist_fast.nn import ConvReLUMaxPool2d as ConvReLUMaxPool2d
    from mnist_fast.nn import Linear as Linear
    from mnist_fast.ops import conv_relu_maxpool2d as conv_relu_maxpool2d


_HOME = {
    "ConvReLUMaxPool2d": "mnist_fast.nn",
    "Linear": "mnist_fast.nn",
    "backend_info": "mnist_fast.backend",
    "conv_relu_maxpool2d": "mnist_fast.ops",
    "fuse": "mnist_fast.fusion",
    "fusion_report": "mnist_fast.fusion",
    "models": "mnist_fast.models",
    "unfuse": "mnist_fast.fusion",
}
__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    value = module if name == "models" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _is_command_line() -> bool:
    """Whether this process was started as ``mnist-fast …`` or ``python -m mnist_fast …``."""
    if sys.argv[:1] == ["-m"]:  # Python sets this while it looks for the module that -m names
        return "mnist_fast" in sys.orig_argv
    return Path(sys.argv[0] if sys.argv else "").stem == "mnist-fast"


if not _is_command_line():
    importlib.import_module("mnist_fast.ops")
