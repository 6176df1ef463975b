"""Batches: every image once, in an order that (seed, epoch) decide, normalised as documented."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mnist_fast.data import batches, epoch_order, num_batches
from mnist_fast.errors import UsageError

COUNT = 103
IMAGES = torch.arange(COUNT * 28 * 28).remainder(256).to(torch.uint8).view(COUNT, 28, 28)
LABELS = torch.arange(COUNT)  # each image's number, so that the order can be read from the labels
STATISTICS = {"mean": 0.1307, "std": 0.3081}


def order_of(batch_size: int = 10, **options: object) -> list[int]:
    return torch.cat([labels for _, labels in batches(IMAGES, LABELS, batch_size, **STATISTICS, **options)]).tolist()


def expected(images: Tensor) -> Tensor:
    return ((images.double() / 255 - 0.1307) / 0.3081).unsqueeze(1)


def test_in_order_without_a_seed() -> None:
    assert order_of() == list(range(COUNT))


def test_sizes_shapes_and_types() -> None:
    found = list(batches(IMAGES, LABELS, 10, **STATISTICS))
    assert len(found) == num_batches(COUNT, 10) == 11
    assert [len(labels) for _, labels in found] == [10] * 10 + [3]
    for images, labels in found:
        assert images.shape == (len(labels), 1, 28, 28)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert images.is_contiguous()


@pytest.mark.parametrize("seed", [None, 3])
def test_normalised_images_belong_to_their_labels(seed: int | None) -> None:
    for images, labels in batches(IMAGES, LABELS, 16, **STATISTICS, seed=seed):
        torch.testing.assert_close(images.double(), expected(IMAGES[labels]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 1e-2)],
)
def test_dtypes(dtype: torch.dtype, tolerance: float) -> None:
    images, labels = next(batches(IMAGES, LABELS, 64, **STATISTICS, dtype=dtype))
    assert images.dtype == dtype
    torch.testing.assert_close(images.double(), expected(IMAGES[labels]), rtol=0, atol=tolerance)


def test_default_dtype_does_not_matter() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        images, _ = next(batches(IMAGES, LABELS, 4, **STATISTICS))
    finally:
        torch.set_default_dtype(torch.float32)
    assert images.dtype == torch.float32


def test_other_memory_layouts() -> None:
    transposed = IMAGES.transpose(1, 2)
    for seed in (None, 1):
        images, labels = next(batches(transposed, LABELS, 7, **STATISTICS, seed=seed))
        torch.testing.assert_close(images.double(), expected(transposed[labels]), rtol=0, atol=1e-6)


def test_the_images_stay_as_they_are() -> None:
    before = IMAGES.clone()
    for images, labels in batches(IMAGES, LABELS, 32, **STATISTICS):
        images.fill_(0)
        labels.clone().fill_(0)
    assert torch.equal(IMAGES, before)


def test_shuffled_order_visits_each_image_once() -> None:
    order = order_of(seed=5)
    assert order != list(range(COUNT))
    assert sorted(order) == list(range(COUNT))
    assert order == epoch_order(COUNT, seed=5, epoch=0).tolist()


def test_order_is_a_function_of_seed_and_epoch() -> None:
    orders = {(seed, epoch): tuple(order_of(seed=seed, epoch=epoch)) for seed in range(8) for epoch in range(8)}
    assert len(set(orders.values())) == 64
    torch.manual_seed(123)
    torch.rand(17)
    for (seed, epoch), order in orders.items():
        assert tuple(order_of(batch_size=7, seed=seed, epoch=epoch)) == order


def test_order_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    order_of(seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_order_of_an_epoch_never_changes() -> None:
    """Checkpoints of earlier versions resume with it."""
    assert epoch_order(10, seed=0, epoch=0).tolist() == [5, 0, 3, 9, 6, 2, 7, 1, 8, 4]
    assert epoch_order(10, seed=1, epoch=2).tolist() == [7, 1, 0, 4, 3, 5, 9, 2, 6, 8]


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("limit", [None, 57])
@pytest.mark.parametrize("start", [0, 1, 5, 6, 10, 11, 40])
def test_start_skips_batches(seed: int | None, limit: int | None, start: int) -> None:
    options = {"seed": seed, "epoch": 2, "limit": limit}
    whole = list(batches(IMAGES, LABELS, 10, **STATISTICS, **options))
    rest = list(batches(IMAGES, LABELS, 10, **STATISTICS, **options, start=start))
    assert len(rest) == max(0, len(whole) - start)
    for (images, labels), (expected_images, expected_labels) in zip(rest, whole[start:], strict=True):
        assert torch.equal(images, expected_images)
        assert torch.equal(labels, expected_labels)


@pytest.mark.parametrize("limit", [1, 9, 10, 57, 103, 500])
@pytest.mark.parametrize("seed", [None, 4])
def test_limit_takes_the_first_of_the_order(seed: int | None, limit: int) -> None:
    assert order_of(seed=seed, limit=limit) == order_of(seed=seed)[:limit]
    count = len(list(batches(IMAGES, LABELS, 10, **STATISTICS, seed=seed, limit=limit)))
    assert count == num_batches(COUNT, 10, limit=limit) == math.ceil(min(limit, COUNT) / 10)


def test_batch_larger_than_the_data() -> None:
    assert order_of(batch_size=1000) == list(range(COUNT))


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"batch_size": 0}, "0"),
        ({"batch_size": -4}, "-4"),
        ({"limit": 0}, "0"),
        ({"start": -1}, "-1"),
        ({"std": 0.0}, "0.0"),
        ({"std": float("nan")}, "nan"),
        ({"labels": LABELS[:9]}, "9"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(options: dict[str, object], value: str) -> None:
    arguments = {"images": IMAGES, "labels": LABELS, "batch_size": 10, **STATISTICS, **options}
    with pytest.raises(UsageError, match=value):
        batches(**arguments)


def test_batches_arrive_on_the_device_asked_for() -> None:
    images, labels = next(batches(IMAGES, LABELS, 8, **STATISTICS, seed=0, device="meta"))
    assert images.device.type == labels.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_batches_on_cuda(resident: bool) -> None:
    images, labels = (IMAGES.cuda(), LABELS.cuda()) if resident else (IMAGES, LABELS)
    on_cpu = batches(IMAGES, LABELS, 10, **STATISTICS, seed=3)
    on_cuda = batches(images, labels, 10, **STATISTICS, seed=3, device="cuda")
    for (x, y), (x_cuda, y_cuda) in zip(on_cpu, on_cuda, strict=True):
        assert x_cuda.is_cuda
        assert torch.equal(y, y_cuda.cpu())
        torch.testing.assert_close(x_cuda.cpu(), x, rtol=0, atol=1e-6)
