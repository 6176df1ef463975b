"""Which images tell how good an epoch was, which epoch is the best, and when to stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import tiny_config, tiny_dataset

from mnist_fast.checkpoint import load_checkpoint
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.parallel import ALONE
from mnist_fast.progress import Reporter
from mnist_fast.runs import RunDirectory
from mnist_fast.selection import Selection
from mnist_fast.training import train


def _selection(patience: int | None) -> Selection:
    spec = NetworkSpec("speedrun", 10, 0.0, 1.0)
    return Selection(tiny_dataset(), spec, "fp32", False, torch.device("cpu"), ALONE, patience)


@pytest.mark.parametrize(
    ("accuracies", "best", "over"),
    [
        ([0.5], True, False),
        ([0.5, 0.6], True, False),
        ([0.5, 0.5], False, False),  # as good is not better
        ([0.6, 0.5, 0.6], False, True),
        ([0.6, 0.5, 0.7], True, False),
        ([0.6, 0.5, 0.4, 0.7], True, False),
    ],
)
def test_best_and_patience(accuracies: list[float], best: bool, over: bool) -> None:
    history = [{"test_accuracy": accuracy} for accuracy in accuracies]
    assert _selection(2).last_is_best(history) == best
    assert _selection(2).out_of_patience(history) == over
    assert not _selection(None).out_of_patience(history)
    assert not _selection(2).out_of_patience([])


def test_validation_images_decide_and_test_images_come_last(tmp_path: Path) -> None:
    data = tiny_dataset(train=120)
    held_out = replace(
        data, train_images=data.train_images[:96], train_labels=data.train_labels[:96],
        val_images=data.train_images[96:], val_labels=data.train_labels[96:],
    )  # fmt: skip
    with RunDirectory(tmp_path) as run:
        result = train(tiny_config(epochs=4), held_out, run=run)
    assert all("test_accuracy" not in record for record in result.history[:-1])
    assert result.history[-1]["test_accuracy"] == result.evaluation.accuracy
    assert len(result.evaluation.predictions) == len(data.test_labels)
    accuracies = [record["val_accuracy"] for record in result.history]
    assert all(accuracy * 24 == pytest.approx(round(accuracy * 24)) for accuracy in accuracies)
    assert load_checkpoint(tmp_path / "best.safetensors").details["val_accuracy"] == max(accuracies)
    assert load_checkpoint(tmp_path / "last.safetensors").details["test_loss"] == result.evaluation.loss


def test_it_stops_when_it_gets_no_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At a rate of almost nothing no epoch is better than the first."""
    options = {"optimizer": "sgd", "schedule": "constant", "lr": 1e-9, "epochs": 50}
    with RunDirectory(tmp_path) as run:
        result = train(tiny_config(patience=2, **options), tiny_dataset(), run=run, reporter=Reporter())
    assert [record["epoch"] for record in result.history] == [1, 2, 3]
    errors = capsys.readouterr().err
    assert "--patience looks at the test images" in errors
    assert "stopped: no better test accuracy in 2 epochs" in errors
    with RunDirectory(tmp_path, resume=True) as run:  # nothing is left to do, until there is more patience
        assert len(train(tiny_config(patience=2, **options), tiny_dataset(), run=run).history) == 3
    with RunDirectory(tmp_path, resume=True) as run:
        assert len(train(tiny_config(patience=4, **options), tiny_dataset(), run=run).history) == 5
