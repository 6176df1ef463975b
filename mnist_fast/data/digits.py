"""The dataset that needs no network: scikit-learn's bundled handwritten digits, brought to MNIST's style."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_fast.data.catalog import classes_of
from mnist_fast.data.dataset import Dataset, pixel_statistics
from mnist_fast.data.splitting import held_out_indices

_TEST_SHARE = 0.2


def to_mnist_size(images: Tensor, white: float) -> Tensor:
    """Enlarge small pictures as MNIST's are laid out: 20x20, bilinear, in the middle of 28x28, white on black.

    Args:
        images: (N, H, W) of any real dtype, values 0…``white``.

    Returns:
        uint8 (N, 28, 28).
    """
    large = F.interpolate(images.double().unsqueeze(1), size=(20, 20), mode="bilinear", align_corners=False).squeeze(1)
    # Many values fall exactly between two grey levels: the nudge rounds them alike on every machine.
    levels = (large * (255 / white) + 0.5 + 1e-6).floor().clamp(0, 255).to(torch.uint8)
    return F.pad(levels, (4, 4, 4, 4))


def load_bundled_digits() -> Dataset:
    """The 1,797 handwritten digits that come with scikit-learn, 8x8 enlarged to 28x28: 1,438 to train, 359 to test."""
    from sklearn.datasets import load_digits

    bundled = load_digits()
    images = to_mnist_size(torch.from_numpy(bundled.images), white=16)
    labels = torch.from_numpy(bundled.target).long()
    test = torch.zeros(len(labels), dtype=torch.bool)
    test[torch.from_numpy(held_out_indices(bundled.target, _TEST_SHARE, seed=0))] = True
    mean, std = pixel_statistics(images[~test])
    return Dataset(
        name="digits",
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
        classes=classes_of("digits"),
        mean=mean,
        std=std,
        source="scikit-learn's bundled handwritten digits (1,797 pictures, 8x8 enlarged to 28x28)",
    )
