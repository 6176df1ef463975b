"""Event files for TensorBoard, where its package is installed; one line where it is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tiny import tiny_config, tiny_dataset

from mnist_fast.errors import UsageError
from mnist_fast.runs import RunDirectory
from mnist_fast.training import train


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with RunDirectory(tmp_path / "run") as run, pytest.raises(UsageError, match=r'pip install "mnist_fast\[tensorb'):
        train(tiny_config(tensorboard=True), tiny_dataset(), run=run)
    assert not (tmp_path / "run").exists()


def test_what_it_shows(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason='the extra: pip install "mnist_fast[tensorboard]"')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunDirectory(tmp_path) as run:
        result = train(tiny_config(tensorboard=True), tiny_dataset(), run=run)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    accuracies = [(event.step, event.value) for event in events.Scalars("accuracy/test")]
    assert accuracies == [(record["step"], pytest.approx(record["test_accuracy"])) for record in result.history]
    assert [event.step for event in events.Scalars("loss/running")] == list(range(1, 13))
    assert {"learning-rate", "loss/test", "loss/train"} <= set(events.Tags()["scalars"])
