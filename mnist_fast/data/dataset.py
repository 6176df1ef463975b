"""What a dataset is once it is in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Pictures and labels, resident on the CPU.

    Attributes:
        name: what was loaded, for example ``"mnist"``; never ``"auto"``.
        train_images: uint8 (N, 28, 28), white (255) on black (0).
        train_labels: int64 (N,), from 0 to ``len(classes) - 1``.
        test_images: uint8 (M, 28, 28).
        test_labels: int64 (M,).
        classes: what each label stands for.
        mean, std: of pixel / 255 over the training images, to four decimals (:func:`pixel_statistics`).
        source: one line for people: which data, from where and, where it stands in for another dataset, why.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    mean: float
    std: float
    source: str


def pixel_statistics(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of pixel / 255 over uint8 images of any shape.

    Rounded to four decimals, as the field does: 0.1307 and 0.3081 for MNIST. Exact counts make them the same on every
    machine.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    share = torch.bincount(images.flatten(), minlength=256).double() / images.numel()
    mean = float((share * levels).sum())
    variance = float((share * (levels - mean) ** 2).sum())
    return round(mean, 4), round(variance**0.5, 4)
