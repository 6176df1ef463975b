"""Loads the compiled kernels, or knows why there are none.

``build_info.json`` beside the libraries says what ``pip install`` built and why a part is missing; it is written by
``setup.py``. A missing part is never fatal here: the stock operators serve, after one warning.
"""

from __future__ import annotations

import importlib
import json
import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from mnist_fast.errors import UsageError

DIRECTORY = Path(__file__).resolve().parent.parent / "_lib"


class KernelsMissingWarning(UserWarning):
    """The package runs on stock PyTorch operators, because its kernels were not built or do not load."""


def build_info() -> dict[str, Any]:
    """What ``setup.py`` recorded at build time; empty for a source tree that was never built."""
    try:
        return json.loads((DIRECTORY / "build_info.json").read_text())
    except FileNotFoundError:
        return {}


def _load() -> tuple[ModuleType | None, str | None]:
    """The ``_core`` module and None, or None and the reason."""
    library = DIRECTORY / "libmnist_fast_torch.so"
    if not library.exists():
        return None, build_info().get("cpu_error") or "the package runs from a source tree; install it with pip"
    try:
        core = importlib.import_module("mnist_fast._lib._core")
        torch.ops.load_library(str(library))
    except (ImportError, OSError) as error:
        return None, f"the compiled library does not load: {str(error).splitlines()[0]}"
    return core, None


core, missing = _load()  # `missing`: why there are no kernels, or None

if missing is not None:
    warnings.warn(
        f"mnist_fast runs without its kernels, on stock PyTorch: {missing}",
        KernelsMissingWarning,
        stacklevel=2,
    )

_forced_isa = os.environ.get("MNIST_FAST_ISA")
if core is not None and _forced_isa:
    try:
        core.set_isa(_forced_isa)
    except ValueError as error:
        raise UsageError(f"MNIST_FAST_ISA={_forced_isa}: {error}") from None

_winograd = os.environ.get("MNIST_FAST_WINOGRAD", "1")
if _winograd not in ("0", "1"):
    raise UsageError(f"MNIST_FAST_WINOGRAD={_winograd}: choose 0 (the direct algorithm everywhere) or 1")
if core is not None:
    core.set_winograd(_winograd == "1")

backend = os.environ.get("MNIST_FAST_BACKEND", "auto")
if backend not in ("auto", "fused", "stock"):
    raise UsageError(f"MNIST_FAST_BACKEND={backend}: choose auto, fused or stock")
