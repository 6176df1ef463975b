"""The classification report, against its definitions."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from mnist_fast.metrics import classification_report


def test_by_hand() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    predictions = torch.tensor([0, 0, 1, 1, 0, 1])
    report = classification_report(labels, predictions, num_classes=4)
    assert report["accuracy"] == pytest.approx(3 / 6)
    assert report["confusion_matrix"] == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert report["per_class"]["precision"] == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert report["per_class"]["recall"] == pytest.approx([2 / 3, 1 / 2, 0, 0])
    assert report["per_class"]["f1"] == pytest.approx([2 / 3, 2 / 5, 0, 0])
    assert report["macro"]["precision"] == pytest.approx((2 / 3 + 1 / 3) / 4)
    assert report["macro"]["recall"] == pytest.approx((2 / 3 + 1 / 2) / 4)
    assert report["macro"]["f1"] == pytest.approx((2 / 3 + 2 / 5) / 4)


def test_against_the_formulas() -> None:
    labels, predictions = torch.randint(0, 10, (2, 500))
    report = classification_report(labels, predictions, num_classes=10)
    for c in range(10):
        hits = int(((labels == c) & (predictions == c)).sum())
        precision = hits / int((predictions == c).sum())
        recall = hits / int((labels == c).sum())
        assert report["per_class"]["precision"][c] == pytest.approx(precision)
        assert report["per_class"]["recall"][c] == pytest.approx(recall)
        assert report["per_class"]["f1"][c] == pytest.approx(
            2 * hits / int((predictions == c).sum() + (labels == c).sum())
        )
        for predicted in range(10):
            count = int(((labels == c) & (predictions == predicted)).sum())
            assert report["confusion_matrix"][c][predicted] == count
    assert report["accuracy"] == pytest.approx(float((labels == predictions).float().mean()))


def test_perfect_and_plain_python() -> None:
    report = classification_report(torch.arange(10), torch.arange(10), num_classes=10)
    assert json.loads(json.dumps(report)) == report
    assert report["accuracy"] == 1.0
    assert report["macro"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_one_image() -> None:
    report = classification_report(torch.tensor([3]), torch.tensor([4]), num_classes=10)
    assert report["accuracy"] == 0.0
    assert report["confusion_matrix"][3][4] == 1


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        (torch.tensor([], dtype=torch.int64), torch.tensor([], dtype=torch.int64), "at least 1"),
        (torch.tensor([1, 2]), torch.tensor([1]), r"\(2,\) and \(1,\)"),
        (torch.zeros(3, 10), torch.zeros(3, 10), "vectors"),
        (torch.tensor([0, 10]), torch.tensor([0, 1]), "labels range from 0 to 10, not 0 to 9"),
        (torch.tensor([0, 1]), torch.tensor([-1, 1]), "predictions range from -1 to 1"),
    ],
)
def test_bad_arguments(labels: Tensor, predictions: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_report(labels, predictions, num_classes=10)
