"""Moved pictures: how far, what comes in from outside, and that nothing but seed, epoch and position decides."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_fast.data import batches, epoch_order, load_dataset
from mnist_fast.data.augmentation import apply_transforms, draw_transforms, views
from mnist_fast.errors import UsageError

COUNT = 103
KINDS = ("shift", "affine")
STATISTICS = {"mean": 0.1307, "std": 0.3081}


@pytest.fixture(scope="module")
def images() -> Tensor:
    return load_dataset("digits").train_images[:COUNT]


def epoch_of(images: Tensor, batch_size: int, **options: object) -> tuple[Tensor, Tensor]:
    options = {"seed": 3, "epoch": 1, **options}
    found = list(batches(images, torch.arange(len(images)), batch_size, **STATISTICS, **options))
    return torch.cat([inputs for inputs, _ in found]), torch.cat([numbers for _, numbers in found])


# Who decides


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("batch_size", "start", "threads"), [(1, 0, 1), (7, 3, 2), (32, 2, 1), (103, 0, 2), (500, 0, 1)]
)
def test_batches_resumption_and_threads_change_no_bit(
    images: Tensor, kind: str, batch_size: int, start: int, threads: int
) -> None:
    whole, order = epoch_of(images, 16, augment=kind)
    torch.set_num_threads(threads)
    part, numbers = epoch_of(images, batch_size, start=start, augment=kind)
    assert torch.equal(part, whole[start * batch_size :])
    assert torch.equal(numbers, order[start * batch_size :])


@pytest.mark.parametrize("kind", KINDS)
def test_limit_takes_the_first(images: Tensor, kind: str) -> None:
    whole, _ = epoch_of(images, 16, augment=kind)
    assert torch.equal(epoch_of(images, 16, augment=kind, limit=40)[0], whole[:40])


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_epoch_change_the_pictures_and_nothing_else(images: Tensor, kind: str) -> None:
    same = images[:1].expand(COUNT, 28, 28)  # so that the order makes no difference
    first, again, seed, epoch = (
        epoch_of(same, 16, augment=kind, **options)[0] for options in ({}, {}, {"seed": 4}, {"epoch": 2})
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, seed)
    assert not torch.equal(first, epoch)
    plain = epoch_of(images, 16, augment="none")[1]
    assert torch.equal(epoch_of(images, 16, augment=kind)[1], plain)
    assert torch.equal(plain, epoch_order(COUNT, 3, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_random_state_is_left_alone(images: Tensor, kind: str) -> None:
    before = torch.get_rng_state()
    epoch_of(images, 16, augment=kind)
    assert torch.equal(torch.get_rng_state(), before)


# What happens to a picture


def test_shifts_move_whole_pixels(images: Tensor) -> None:
    """Each of the 25 shifts appears, and is one of the picture with black coming in."""
    transforms = draw_transforms("shift", 2000, seed=0, epoch=0)
    assert {tuple(pair) for pair in transforms.tolist()} == {(row, column) for row in range(5) for column in range(5)}
    padded = F.pad(images, (2, 2, 2, 2))
    moved = apply_transforms(images, transforms[:COUNT])
    assert moved.dtype == torch.uint8
    for picture, source, (row, column) in zip(moved, padded, transforms.tolist(), strict=False):
        assert torch.equal(picture, source[row : row + 28, column : column + 28])


def test_each_picture_of_a_batch_moves_in_its_own_way(images: Tensor) -> None:
    same = images[:1].expand(50, 28, 28)
    for kind, least in (("shift", 15), ("affine", 50)):
        moved = apply_transforms(same, draw_transforms(kind, 50, seed=0, epoch=0))
        assert len({tuple(picture.flatten().tolist()) for picture in moved}) >= least


@pytest.mark.parametrize(("strength", "most"), [(1.0, 2), (0.6, 1), (0.0, 0)])
def test_weaker_shifts_are_of_fewer_pixels(strength: float, most: int) -> None:
    shifts = draw_transforms("shift", 500, 0, 0, strength) - 2
    assert set(shifts.flatten().tolist()) == set(range(-most, most + 1))


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_affine_maps_stay_within_their_ranges(strength: float) -> None:
    """The linear part taken apart again: inverse, then rotation, shear and size."""
    inverse = draw_transforms("affine", 5000, 0, 0, strength).double()
    forward = inverse[:, :, :2].inverse()
    shift = -(forward @ inverse[:, :, 2:]).squeeze(2) * 14
    angle = torch.atan2(forward[:, 1, 0], forward[:, 0, 0])
    scale = forward[:, :, 0].norm(dim=1)
    shear = (forward[:, :, 0] * forward[:, :, 1]).sum(1) / scale**2
    assert torch.allclose(torch.linalg.det(forward), scale**2)
    for values, most in ((angle, math.radians(15)), (shear, 0.15), (scale.log(), math.log(1.1)), (shift, 2.0)):
        limit = strength * most
        assert values.abs().max() <= limit * (1 + 1e-5)
        assert values.max() > 0.99 * limit
        assert values.min() < -0.99 * limit
        assert values.mean().abs() < 0.05 * limit


def test_views_are_the_picture_and_eight_near_it(images: Tensor) -> None:
    plain, right, left, down, up, *others = (
        apply_transforms(images, view.expand(len(images), 2, 3)) for view in views()
    )
    whole = images.float()
    for moved, expected in (
        (plain, whole),
        (right, F.pad(whole, (0, 1))[:, :, 1:]),
        (left, F.pad(whole, (1, 0))[:, :, :-1]),
        (down, F.pad(whole, (0, 0, 0, 1))[:, 1:]),
        (up, F.pad(whole, (0, 0, 1, 0))[:, :-1]),
    ):
        torch.testing.assert_close(moved, expected, rtol=0, atol=0.01)
    angles = [torch.atan2(view[0, 1], view[1, 1]).item() for view in views()[5:]]
    sizes = [1 / view[1, 1].item() for view in views()[5:]]
    assert angles == pytest.approx([math.atan(0.1), -math.atan(0.1), 0, 0])
    assert sizes == pytest.approx([1, 1, 0.94, 1.06])
    assert all((other - plain).abs().max() > 1 for other in others)


def expected_places(matrix: Tensor) -> Tensor:
    """Where each pixel of a new picture comes from in the old one, in pixels: (28, 28, 2), column before row."""
    centred = torch.arange(28, dtype=torch.float64) - 13.5
    new = torch.stack(torch.meshgrid(centred, centred, indexing="xy"), 2)
    return new @ matrix[:, :2].T + matrix[:, 2] * 14 + 13.5


def test_affine_maps_interpolate_between_four_pixels(images: Tensor) -> None:
    transforms = draw_transforms("affine", 8, seed=1, epoch=0)
    moved = apply_transforms(images[:8], transforms)
    assert moved.dtype == torch.float32
    for picture, matrix, source in zip(moved, transforms.double(), images.double(), strict=False):
        places = expected_places(matrix)
        corner = places.floor().long()
        share = places - corner
        expected = torch.zeros(28, 28, dtype=torch.float64)
        black = F.pad(source, (40, 40, 40, 40))
        for right in (0, 1):
            for down in (0, 1):
                weight = (share[..., 0] - (1 - right)).abs() * (share[..., 1] - (1 - down)).abs()
                expected += weight * black[corner[..., 1] + down + 40, corner[..., 0] + right + 40]
        torch.testing.assert_close(picture.double(), expected, rtol=0, atol=0.02)


def test_what_comes_in_is_black() -> None:
    """Also after normalisation: a black picture stays one, whatever happens to it."""
    black = torch.zeros(COUNT, 28, 28, dtype=torch.uint8)
    for kind in KINDS:
        inputs, _ = epoch_of(black, 16, augment=kind)
        assert torch.equal(inputs, epoch_of(black, 16, augment="none")[0])
    white = torch.full((COUNT, 28, 28), 255, dtype=torch.uint8)
    for kind in KINDS:
        moved = apply_transforms(white, draw_transforms(kind, COUNT, seed=0, epoch=0)).float()
        assert moved.min() == 0
        assert moved.max() < 255.001
        assert moved[:, 8:20, 8:20].min() > 254.9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_layout_and_type_are_those_of_plain_batches(images: Tensor, kind: str, dtype: torch.dtype) -> None:
    options = {**STATISTICS, "seed": 0, "dtype": dtype}
    plain, _ = next(batches(images, torch.arange(COUNT), 8, **options))
    moved, _ = next(batches(images, torch.arange(COUNT), 8, **options, augment=kind))
    assert (moved.shape, moved.dtype, moved.stride()) == (plain.shape, plain.dtype, plain.stride())


@pytest.mark.parametrize(
    ("options", "words"),
    [({"augment": "flip"}, "'flip'.*affine"), ({"augment": "shift", "seed": None}, "needs a seed")],
)
def test_bad_arguments_are_refused_at_the_call(images: Tensor, options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        batches(images, torch.arange(COUNT), 8, **STATISTICS, **{"seed": 0, **options})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_on_cuda(images: Tensor, kind: str) -> None:
    on_cpu, _ = epoch_of(images, 16, augment=kind)
    on_cuda, _ = epoch_of(images, 16, augment=kind, device="cuda")
    assert on_cuda.is_cuda
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=0, atol=1e-3)
