"""What is held out: the same pictures every time, of each class, and the rest left as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_dataset

from mnist_fast.data import Dataset, load_dataset
from mnist_fast.data.dataset import pixel_statistics
from mnist_fast.data.splitting import held_out_indices
from mnist_fast.errors import UsageError

LABELS = np.array([0] * 10 + [1] * 33 + [2] * 100 + [3])[np.random.RandomState(1).permutation(144)]


@pytest.mark.parametrize(
    ("fraction", "counts"),
    [
        (0.0, [0, 0, 0, 0]),
        (0.001, [0, 0, 0, 0]),
        (0.1, [1, 3, 10, 0]),
        (0.29, [3, 10, 29, 0]),
        (0.5, [5, 16, 50, 0]),
        (0.999, [9, 32, 99, 0]),  # every class keeps one
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 - 1])
def test_share_of_each_class(fraction: float, counts: list[int], seed: int) -> None:
    drawn = held_out_indices(LABELS, fraction, seed)
    assert np.all(np.diff(drawn) > 0)
    assert np.bincount(LABELS[drawn], minlength=4).tolist() == counts


def test_the_drawing_never_changes() -> None:
    """Results are only comparable over time on the same pictures."""
    assert held_out_indices(LABELS, 0.05, seed=0).tolist() == [15, 24, 64, 71, 90, 111, 121]
    assert held_out_indices(LABELS, 0.05, seed=2**40).tolist() == [35, 56, 69, 81, 97, 136, 141]


def test_seeds_and_fractions_draw_differently() -> None:
    seeds = [0, 1, 2, 2**31, 2**32, 2**32 + 1, 2**63 - 1]
    assert len({tuple(held_out_indices(LABELS, 0.5, seed)) for seed in seeds}) == len(seeds)


def numbered(count: int = 1000) -> Dataset:
    """Pictures whose first pixels are their numbers, so that each can be followed."""
    images = torch.zeros(count, 28, 28, dtype=torch.uint8)
    images[:, 0, 0], images[:, 0, 1] = torch.arange(count) // 256, torch.arange(count) % 256
    labels = torch.arange(count) % 7
    return replace(tiny_dataset(), name="numbered", train_images=images, train_labels=labels)


def numbers(images: torch.Tensor) -> list[int]:
    return (images[:, 0, 0].int() * 256 + images[:, 0, 1]).tolist()


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
def test_parts_are_disjoint_and_complete(fraction: float) -> None:
    whole = numbered()
    split = whole.with_validation(fraction, seed=5)
    train, validation = numbers(split.train_images), numbers(split.val_images)
    assert train == sorted(train)
    assert validation == sorted(validation)
    assert sorted(train + validation) == list(range(1000))
    assert [number % 7 for number in train] == split.train_labels.tolist()
    assert [number % 7 for number in validation] == split.val_labels.tolist()
    assert len(validation) == pytest.approx(1000 * fraction, abs=3.5)
    assert torch.equal(split.test_images, whole.test_images)
    assert split.val_images.is_contiguous()
    assert split.val_images.dtype == torch.uint8
    assert split.val_labels.dtype == torch.int64


def test_repeats_to_the_image() -> None:
    first, again, other = (numbered().with_validation(0.1, seed) for seed in (3, 3, 4))
    assert torch.equal(first.val_images, again.val_images)
    assert not torch.equal(first.val_images, other.val_images)


def test_statistics_are_of_what_is_left() -> None:
    split = load_dataset("digits").with_validation(0.5, seed=0)
    assert (split.mean, split.std) == pixel_statistics(split.train_images)
    assert "; 719 of the training images are held out for validation" in split.source


def test_none_by_default() -> None:
    whole = tiny_dataset()
    assert whole.with_validation(0.0, seed=0) is whole
    assert whole.val_images.shape == (0, 28, 28)
    assert whole.val_labels.shape == (0,)


@pytest.mark.parametrize(
    ("fraction", "words"),
    [(-0.1, "-0.1"), (1.0, "1.0"), (float("nan"), "nan"), (0.001, "0.001 of the 1,000 training images of numbered")],
)
def test_fractions_that_do_not_do(fraction: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        numbered().with_validation(fraction, seed=0)


def test_no_second_split() -> None:
    with pytest.raises(UsageError, match="already"):
        numbered().with_validation(0.1, seed=0).with_validation(0.1, seed=1)
