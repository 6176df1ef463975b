"""The records of a run for TensorBoard: an extra, ``pip install "mnist_fast[tensorboard]"``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from mnist_fast.errors import UsageError

DIRECTORY = "tensorboard"
# How the fields of our records are called in TensorBoard, which draws what shares a prefix side by side.
_TAGS = {
    "loss": "loss/running",
    "train_loss": "loss/train",
    "val_loss": "loss/val",
    "test_loss": "loss/test",
    "val_accuracy": "accuracy/val",
    "test_accuracy": "accuracy/test",
    "lr": "learning-rate",
}


def check_tensorboard() -> None:
    """Raises UsageError where the tensorboard package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError('--tensorboard needs the tensorboard package; pip install "mnist_fast[tensorboard]"')


class TensorBoard:
    """Writes event files below a run's directory.

    Args:
        run: the directory of the run.
        step: what earlier files hold of steps after this one is not shown: the resumed run does these again.
    """

    def __init__(self, run: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / DIRECTORY), purge_step=step + 1 if step else None)

    def add(self, record: dict[str, Any]) -> None:
        """Write the numbers of a record, at its ``step``."""
        for name, tag in _TAGS.items():
            if record.get(name) is not None:
                self._writer.add_scalar(tag, record[name], record["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
