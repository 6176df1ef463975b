"""The options of the documents' scripts. Nothing here is about the fused block."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sized
from typing import Any

import torch
from torch.utils.data import Dataset, Subset


def options(description: str | None, *, epochs: int) -> argparse.Namespace:
    """Parse ``--data-dir``, ``--epochs`` and ``--images``, and seed torch.

    Args:
        epochs: the document's own number, the default.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_dir = os.environ.get("MNIST_FAST_DATA", "./data")
    parser.add_argument("--data-dir", default=data_dir, help="torchvision root of MNIST, downloaded where missing")
    parser.add_argument("--epochs", type=int, default=epochs, help="passes over the training images (%(default)s)")
    parser.add_argument("--images", type=int, help="use only so many training and test images")
    torch.manual_seed(0)
    return parser.parse_args()


def first(dataset: Dataset[Any], images: int | None) -> Dataset[Any]:
    """The first images of a dataset; None: all."""
    assert isinstance(dataset, Sized)
    return dataset if images is None else Subset(dataset, range(min(images, len(dataset))))
