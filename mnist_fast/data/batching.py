"""Batches out of images that stay where they are, as uint8: whole-batch tensor operations, nothing per sample."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mnist_fast.data.augmentation import apply_transforms, draw_transforms
from mnist_fast.data.drawing import generator
from mnist_fast.data.names import AUGMENTATIONS
from mnist_fast.data.normalizing import Normalization
from mnist_fast.errors import UsageError


def _epoch_size(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)


def num_batches(count: int, batch_size: int, *, limit: int | None = None) -> int:
    """How many batches an epoch of ``count`` images has, a smaller last one included.

    Args:
        limit: use at most this many of the images.

    Raises:
        UsageError: a batch size or limit below 1.
    """
    for name, value in (("batch size", batch_size), ("limit of images", limit)):
        if value is not None and value < 1:
            raise UsageError(f"the {name} is {value}; it must be at least 1")
    return -(-_epoch_size(count, limit) // batch_size)


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch visits its images: a permutation of 0…count-1, int64 (count,), on the CPU.

    It depends on ``seed`` and ``epoch`` alone, so a resumed run finds its place again.
    """
    return torch.randperm(count, generator=generator(seed, epoch))


def batches(
    images: Tensor,
    labels: Tensor,
    batch_size: int,
    *,
    mean: float,
    std: float,
    seed: int | None = None,
    epoch: int = 0,
    start: int = 0,
    limit: int | None = None,
    augment: str = "none",
    augment_strength: float = 1.0,
    view: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch, a normalised batch at a time.

    Args:
        images: uint8 (N, 28, 28), on any device; they are gathered there.
        labels: int64 (N,), on the same device.
        batch_size: images in a batch; the last may have fewer.
        mean, std: of pixel / 255.
        seed: None visits the images in order, for evaluation; a number shuffles them by :func:`epoch_order`.
        epoch: picks the permutation, with ``seed``.
        start: skip this many batches, which costs nothing, to resume within an epoch.
        limit: the epoch is the first ``limit`` images of the order.
        augment: ``"none"``, ``"shift"`` or ``"affine"``: move each image a little before it is normalised
            (:func:`~mnist_fast.data.augmentation.draw_transforms` says how far). It needs a ``seed``.
        augment_strength: from 0 to 1, how much of that.
        view: (2, 3): with no ``seed``, an affine map that moves all images alike, one of
            :func:`~mnist_fast.data.augmentation.views`.
        dtype: of the yielded images; the arithmetic is in float32 at least.
        device: where the batches are wanted; None for where the images are.

    Yields:
        ``(pixel / 255 - mean) / std`` as ``dtype`` (B, 1, 28, 28), with the strides of
        :class:`~mnist_fast.data.normalizing.Normalization`, and labels int64 (B,).

    Raises:
        UsageError: a batch size or limit below 1, ``start`` below 0, a ``std`` that is not positive, numbers of images
            and labels that differ, or an augmentation that does not exist or has no seed.
    """
    if start < 0:
        raise UsageError(f"the batch to start from is {start}; it must not be negative")
    if not std > 0:
        raise UsageError(f"the standard deviation to divide by is {std}; it must be positive")
    if len(images) != len(labels):
        raise UsageError(f"{len(images)} images have {len(labels)} labels")
    if augment not in AUGMENTATIONS:
        raise UsageError(f"unknown augmentation {augment!r}; choose from {', '.join(AUGMENTATIONS)}")
    if augment != "none" and seed is None:
        raise UsageError(f"the augmentation {augment!r} needs a seed")
    total = num_batches(len(images), batch_size, limit=limit)
    count = _epoch_size(len(images), limit)
    order = None if seed is None else epoch_order(len(images), seed, epoch)[:count].to(images.device)
    target_device = images.device if device is None else torch.device(device)
    transforms = None
    if seed is not None and augment != "none":
        transforms = draw_transforms(augment, len(images), seed, epoch, augment_strength).to(target_device)
    normalize = Normalization(mean, std, dtype, target_device)

    # A generator of its own, so that the checks above run at the call and not at the first batch.
    def generate() -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(start * batch_size, total * batch_size, batch_size):
            last = min(first + batch_size, count)
            if order is None:
                pixels, targets = images[first:last].to(target_device), labels[first:last]
                if view is not None:
                    pixels = apply_transforms(pixels, view.to(target_device).expand(len(pixels), 2, 3))
                batch = normalize(pixels)
            else:
                chosen = order[first:last]
                targets = labels.index_select(0, chosen)
                if transforms is None:
                    batch = normalize.chosen(images, chosen)
                else:
                    pixels = images.index_select(0, chosen).to(target_device)  # as bytes
                    batch = normalize(apply_transforms(pixels, transforms[first:last]))
            yield batch, targets.to(target_device)

    return generate()
