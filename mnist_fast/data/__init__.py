"""Datasets of 28x28 pictures: found on disk or downloaded, checked, and handed to training in whole batches.

Importing this package does not import torch; the first use of a name that needs it does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mnist_fast.data.names import DATASET_NAMES as DATASET_NAMES
from mnist_fast.data.paths import default_data_dir as default_data_dir

if TYPE_CHECKING:
    from mnist_fast.data.batching import batches as batches
    from mnist_fast.data.batching import epoch_order as epoch_order
    from mnist_fast.data.batching import num_batches as num_batches
    from mnist_fast.data.dataset import Dataset as Dataset
    from mnist_fast.data.loading import fetch as fetch
    from mnist_fast.data.loading import load_dataset as load_dataset
    from mnist_fast.data.loading import verify as verify
    from mnist_fast.data.reading import FileCheck as FileCheck

_HOME = {
    "Dataset": "dataset",
    "FileCheck": "reading",
    "batches": "batching",
    "epoch_order": "batching",
    "fetch": "loading",
    "load_dataset": "loading",
    "num_batches": "batching",
    "verify": "loading",
}
__all__ = ["DATASET_NAMES", "default_data_dir", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
