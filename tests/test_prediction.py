"""How well pictures of digits are told: drawn by hand, in fonts, and MNIST's own re-photographed.

`pytest -s -m "long or not long" tests/test_prediction.py` prints the accuracies.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from drawn_digits import HANDS, LOOKS, Look, drawn, glyph, photographed
from PIL import Image

from mnist_fast.config import make_config
from mnist_fast.data import Dataset, load_dataset
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.pictures import prepare
from mnist_fast.prediction import class_probabilities
from mnist_fast.training import TrainResult, train

_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSerif",
    "DejaVuSansMono",
    "STIXGeneral",
    "cmr10",
)


@pytest.fixture(scope="module")
def mnist(mnist_root: Path) -> Dataset:
    return load_dataset("mnist", mnist_root, offline=True)


@pytest.fixture(scope="module", params=["speedrun", pytest.param("cnn", marks=pytest.mark.long)])
def trained(request: pytest.FixtureRequest, mnist: Dataset) -> TrainResult:
    """One epoch of MNIST."""
    torch.manual_seed(0)
    return train(make_config({"arch": request.param, "epochs": 1, "device": "cpu"}), mnist)


@pytest.fixture(params=[1, pytest.param(10, marks=pytest.mark.long)], ids=["sample", "whole"])
def size(request: pytest.FixtureRequest) -> int:
    return request.param


def accuracy(trained: TrainResult, mnist: Dataset, pictures: Iterator[tuple[Image.Image, int]], name: str) -> float:
    images, labels = zip(*((prepare(np.asarray(image)), label) for image, label in pictures), strict=True)
    spec = NetworkSpec(trained.config.arch, 10, mnist.mean, mnist.std)
    found = class_probabilities(trained.model, torch.from_numpy(np.stack(images)), spec).argmax(1)
    right = (found == torch.tensor(labels)).double().mean().item()
    print(f"{trained.config.arch}: {name}: {right:.3f} of {len(labels):,}")
    return right


@pytest.mark.parametrize("look", LOOKS)
def test_drawn_by_hand(look: str, trained: TrainResult, mnist: Dataset, size: int) -> None:
    random = np.random.default_rng(0)
    cases = [(digit, hand) for digit, hands in HANDS.items() for hand in range(len(hands))] * size
    pictures = ((drawn(digit, hand, LOOKS[look], random), digit) for digit, hand in cases)
    assert accuracy(trained, mnist, pictures, f"drawn by hand, {look}") >= 0.9


@pytest.mark.parametrize("turn", [-12, 0, 12])
def test_fonts(turn: int, trained: TrainResult, mnist: Dataset) -> None:
    folder, random = Path(matplotlib.get_data_path(), "fonts", "ttf"), np.random.default_rng(0)
    cases = [(digit, folder / f"{font}.ttf") for font in _FONTS for digit in range(10)]
    pictures = ((glyph(digit, font, Look(), random, turn), digit) for digit, font in cases)
    # Printed digits are not what MNIST teaches: a printed 6 has another lean, and turned clockwise an own look.
    assert accuracy(trained, mnist, pictures, f"fonts, turned by {turn} degrees") >= 0.75


def test_mnist_photographed_anew(trained: TrainResult, mnist: Dataset, size: int) -> None:
    random, count = np.random.default_rng(0), 100 * size
    images, labels = mnist.test_images[:count].numpy(), mnist.test_labels[:count].tolist()
    pictures = ((photographed(image, random), label) for image, label in zip(images, labels, strict=True))
    assert accuracy(trained, mnist, pictures, "MNIST photographed anew") >= 0.97


def test_mnist_pictures_are_told_as_well(trained: TrainResult, mnist: Dataset, size: int) -> None:
    images, labels = mnist.test_images[: 300 * size].numpy(), mnist.test_labels[: 300 * size].tolist()
    pictures = ((Image.fromarray(image), label) for image, label in zip(images, labels, strict=True))
    assert accuracy(trained, mnist, pictures, "MNIST as it is") >= 0.97
