"""The bundled digits: their split and pixels are fixed for good, and they look like MNIST's."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from mnist_fast.data import Dataset, load_dataset
from mnist_fast.data.digits import to_mnist_size


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def test_shapes_types_and_counts(digits: Dataset) -> None:
    assert digits.name == "digits"
    assert digits.classes == tuple("0123456789")
    assert digits.train_images.shape == (1438, 28, 28)
    assert digits.test_images.shape == (359, 28, 28)
    for images, labels in ((digits.train_images, digits.train_labels), (digits.test_images, digits.test_labels)):
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert images.is_contiguous()
        assert len(images) == len(labels)


def test_a_fifth_of_each_class_is_for_testing(digits: Dataset) -> None:
    in_all = np.bincount(load_digits().target)
    assert np.all(np.abs(np.bincount(digits.test_labels) / in_all - 0.2) < 0.003)


def test_training_and_test_pictures_are_apart_and_complete(digits: Dataset) -> None:
    """Every bundled picture is in one of the two."""
    whole = to_mnist_size(torch.from_numpy(load_digits().images), white=16)
    both = torch.cat([digits.train_images, digits.test_images])
    assert sorted(picture.numpy().tobytes() for picture in both) == sorted(p.numpy().tobytes() for p in whole)


def test_pixels_and_split_never_change(digits: Dataset) -> None:
    """Accuracies are only comparable over time on the same pictures."""
    content = b"".join(
        tensor.numpy().tobytes()
        for tensor in (digits.train_images, digits.train_labels, digits.test_images, digits.test_labels)
    )
    assert hashlib.sha256(content).hexdigest() == "4fea5972281759ab3ac4824c8f903165b76ef32ca659a77ce6fa379d5c94fb41"
    assert (digits.mean, digits.std) == (0.156, 0.2777)


def test_statistics_are_those_of_the_training_pixels(digits: Dataset) -> None:
    pixels = digits.train_images.double() / 255
    assert digits.mean == pytest.approx(float(pixels.mean()), abs=5e-5)
    assert digits.std == pytest.approx(float(pixels.std()), abs=6e-5)


def test_layout_is_mnists(digits: Dataset) -> None:
    """20x20 in the middle of 28x28, white on black."""
    border = digits.train_images.clone()
    border[:, 4:24, 4:24] = 0
    assert border.sum() == 0
    assert digits.train_images.max() == 255
    assert digits.train_images[:, 4:24, 4:24].float().mean() < 128


@pytest.mark.parametrize("size", [8, 16])
def test_enlarging_is_bilinear(size: int) -> None:
    small = torch.randint(0, 17, (50, size, size))
    levels = F.interpolate(small.double().unsqueeze(1), size=(20, 20), mode="bilinear").squeeze(1) * 255 / 16
    large = to_mnist_size(small, white=16)
    assert large.shape == (50, 28, 28)
    assert (large[:, 4:24, 4:24].double() - levels).abs().max() <= 0.5 + 1e-5


def test_enlarging_keeps_black_and_white() -> None:
    assert to_mnist_size(torch.zeros(1, 8, 8), white=16).max() == 0
    assert to_mnist_size(torch.full((1, 8, 8), 16), white=16)[:, 4:24, 4:24].min() == 255
