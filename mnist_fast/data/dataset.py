"""What a dataset is once it is in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mnist_fast.data.splitting import held_out_indices
from mnist_fast.errors import UsageError


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
        val_images: uint8 (V, 28, 28): pictures to choose by, so that the test images decide nothing. None by default;
            :meth:`with_validation` takes them from the training images.
        val_labels: int64 (V,).
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
    val_images: Tensor = field(default_factory=lambda: torch.empty(0, 28, 28, dtype=torch.uint8))
    val_labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def with_validation(self, fraction: float, seed: int) -> Dataset:
        """Move a share of each class from the training to the validation images.

        Which ones depends on the labels, ``fraction`` and ``seed`` alone; both parts keep the order of the files.

        Args:
            fraction: of each class's training images, from 0 (none: ``self``) to below 1, rounded to whole images;
                every class keeps one to train on.
            seed: an integer from 0 to 2**63 - 1.

        Returns:
            A dataset whose ``mean`` and ``std`` are those of the images that are left to train on.

        Raises:
            UsageError: the fraction is out of range or so small that no image would be held out; the dataset has
                validation images already.
        """
        if fraction == 0:
            return self
        if not 0 < fraction < 1:
            raise UsageError(f"the validation fraction is {fraction}; it must be from 0 to below 1")
        if len(self.val_labels):
            raise UsageError(f"{self.name} has {len(self.val_labels):,} validation images already")
        held_out = torch.zeros(len(self.train_labels), dtype=torch.bool)
        held_out[torch.from_numpy(held_out_indices(self.train_labels.numpy(), fraction, seed))] = True
        count = int(held_out.sum())
        if not count:
            raise UsageError(
                f"the validation fraction {fraction} of the {len(held_out):,} training images of {self.name} is less "
                "than half an image of every class; choose a larger one"
            )
        train_images = self.train_images[~held_out]
        mean, std = pixel_statistics(train_images)
        return replace(
            self,
            train_images=train_images,
            train_labels=self.train_labels[~held_out],
            val_images=self.train_images[held_out],
            val_labels=self.train_labels[held_out],
            mean=mean,
            std=std,
            source=f"{self.source}; {count:,} of the training images are held out for validation",
        )


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
