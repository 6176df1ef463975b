"""Evaluation against the loop anybody would write."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny import tiny_dataset

from mnist_fast import evaluation
from mnist_fast.data.augmentation import apply_transforms, views
from mnist_fast.evaluation import evaluate
from mnist_fast.models import get_model


@pytest.mark.parametrize("batch_size", [7, 40, 1000])
@pytest.mark.parametrize("arch", ["speedrun", "cnn-dropout"])
def test_accuracy_and_loss(arch: str, batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(evaluation.BATCH_SIZES, "cpu", batch_size)
    data, model = tiny_dataset(), get_model(arch)
    result = evaluate(model, data.test_images, data.test_labels, mean=0.2, std=0.5)
    assert model.training  # as it was
    model.eval()  # no dropout
    with torch.no_grad():
        outputs = model((data.test_images[:, None] / 255 - 0.2) / 0.5)
    assert result.accuracy == (outputs.argmax(1) == data.test_labels).double().mean()
    assert result.loss == pytest.approx(F.cross_entropy(outputs, data.test_labels).item(), rel=1e-5)
    assert torch.equal(result.predictions, outputs.argmax(1))


def test_views_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(evaluation.BATCH_SIZES, "cpu", 7)
    data, model = tiny_dataset(), get_model("speedrun").eval()
    result = evaluate(model, data.test_images, data.test_labels, mean=0.2, std=0.5, average_views=True)
    moved = [apply_transforms(data.test_images, view.expand(len(data.test_images), 2, 3)) for view in views()]
    with torch.no_grad():
        outputs = sum(model((images[:, None] / 255 - 0.2) / 0.5) for images in moved) / 9
    assert result.loss == pytest.approx(F.cross_entropy(outputs, data.test_labels).item(), rel=1e-5)
    assert torch.equal(result.predictions, outputs.argmax(1))
    alone = evaluate(model, data.test_images, data.test_labels, mean=0.2, std=0.5)
    assert alone.loss != pytest.approx(result.loss, rel=1e-5)


def test_bfloat16_is_near() -> None:
    data, model = tiny_dataset(), get_model("speedrun")
    full = evaluate(model, data.test_images, data.test_labels, mean=0.2, std=0.5)
    low = evaluate(model, data.test_images, data.test_labels, mean=0.2, std=0.5, precision="bf16")
    assert low.loss != full.loss
    assert low.loss == pytest.approx(full.loss, rel=0.02)
