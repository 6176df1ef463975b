"""The normalisation of a batch against its formula in float64, by our operator and by torch's."""

from __future__ import annotations

import pytest
import torch

from mnist_fast.data.normalizing import Normalization
from mnist_fast.ops import library

CPU = torch.device("cpu")


@pytest.mark.parametrize("backend", ["auto", "stock"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("count", [0, 1, 16, 37])
@pytest.mark.parametrize("size", [(28, 28), (3, 5)])
def test_it_is_the_formula(
    monkeypatch: pytest.MonkeyPatch, backend: str, dtype: torch.dtype, count: int, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(library, "backend", backend)
    images = torch.randint(256, (50, *size), dtype=torch.uint8)
    index = torch.randint(50, (count,))
    normalize = Normalization(0.1307, 0.3081, dtype, CPU)
    expected = ((images.double() / 255 - 0.1307) / 0.3081).unsqueeze(1)
    for batch, wanted in (
        (normalize(images), expected),
        (normalize(images[7:11]), expected[7:11]),
        (normalize(images.mT.contiguous()), expected.mT),
        (normalize.chosen(images, index), expected[index]),
    ):
        assert batch.dtype == dtype
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert batch.stride(1) == 1
        torch.testing.assert_close(batch.double(), wanted, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)


def test_grey_levels_that_are_numbers_already_are_taken() -> None:
    grey = 255 * torch.rand(4, 28, 28)
    expected = ((grey.double() / 255 - 0.5) / 0.25).unsqueeze(1)
    torch.testing.assert_close(Normalization(0.5, 0.25, torch.float32, CPU)(grey).double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [-1, 5])
@pytest.mark.parametrize("backend", ["auto", "stock"])
def test_an_image_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch, backend: str, wrong: int) -> None:
    monkeypatch.setattr(library, "backend", backend)
    images = torch.zeros(5, 2, 2, dtype=torch.uint8)
    with pytest.raises((IndexError, RuntimeError), match=r"out of range|does not exist"):
        Normalization(0, 1, torch.float32, CPU).chosen(images, torch.tensor([0, wrong]))
