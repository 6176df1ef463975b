"""A small learnable dataset, made of nothing, and runs on it, for tests of the trainer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_fast.config import Config, make_config
from mnist_fast.data import Dataset
from mnist_fast.errors import InterruptedRunError
from mnist_fast.runs import RunDirectory
from mnist_fast.training import TrainResult, train

STATE_6 = "state-00000006.pt"  # saved at the end of the first epoch


def tiny_dataset(train: int = 96, test: int = 40, classes: int = 10) -> Dataset:
    """Noise with a bright bar whose row tells the class: learnable within a few steps."""
    generator = torch.Generator().manual_seed(7)

    def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(count) % classes
        images = torch.randint(0, 40, (count, 28, 28), dtype=torch.uint8, generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            image[2 * label + 4 : 2 * label + 7] = 255
        return images, labels

    names = tuple(str(number) for number in range(classes))
    return Dataset("tiny", *pictures(train), *pictures(test), names, 0.17, 0.3, "made up for a test")


def tiny_config(**options: Any) -> Config:
    """Six steps of 16 images an epoch, two epochs, of the smallest network."""
    defaults = {"arch": "speedrun", "batch_size": 16, "epochs": 2, "log_every": 1, "device": "cpu"}
    return make_config({**defaults, **options})


def interrupted_and_resumed(config: Config, directory: Path) -> dict[str, torch.Tensor]:
    """The parameters of a run that a signal ends after a few steps, and that then goes on to its end."""
    count = 0

    def signal() -> int | None:
        nonlocal count
        count += 1
        return 2 if count >= 5 else None

    with RunDirectory(directory) as run, pytest.raises(InterruptedRunError):
        train(config, tiny_dataset(), run=run, received_signal=signal)
    with RunDirectory(directory, resume=True) as run:
        return train(config, tiny_dataset(), run=run).model.state_dict()


def weights_of(result: TrainResult) -> dict[str, torch.Tensor]:
    return result.model.state_dict()


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def tiny_run(config: Config, path: Path, *, resume: bool = False, stop_at: int | None = None) -> TrainResult:
    """A run into ``path``; a signal arrives when it has done ``stop_at`` steps of this call."""
    with RunDirectory(path, resume=resume) as run:
        return train(config, tiny_dataset(), run=run, received_signal=_signal_after(stop_at))


def _signal_after(steps: int | None) -> Callable[[], int | None]:
    asked = 0

    def received() -> int | None:
        nonlocal asked
        asked += 1
        return 15 if steps is not None and asked >= steps else None

    return received


def metrics_of(path: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if "seconds" not in key} for record in records]
