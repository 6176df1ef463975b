"""What a run tells its user while it runs, on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_REFRESH_SECONDS = 0.1


class Reporter:
    """Prints notes, losses and results of epochs; draws a bar of the current epoch if standard error is a terminal.

    Args:
        quiet: print nothing but warnings.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True)
        self._warnings = Console(stderr=True, highlight=False, markup=False, soft_wrap=True) if quiet else self._console
        self._bar: Progress | None = None
        self._task: Any = None
        self._next_refresh = 0.0
        if self._console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[loss]}"),
                TimeRemainingColumn(),
                console=self._console,
                auto_refresh=False,  # its thread would compete with the training loop for the interpreter
                transient=True,
            )

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, line: str) -> None:
        """One line for the user."""
        self._console.print(line)

    def warn(self, line: str) -> None:
        """One line that the user must see."""
        self._warnings.print(f"warning: {line}")

    def start_epoch(self, epoch: int, epochs: int, batch: int, batches: int) -> None:
        """Epoch number ``epoch``, counted from 1, begins, at ``batch`` of ``batches``."""
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(f"epoch {epoch}/{epochs}", total=batches, completed=batch, loss="")
            self._bar.start()

    def advance(self, batch: int) -> None:
        """``batch`` batches of the epoch are done. Costs next to nothing between two refreshes."""
        if self._bar is not None:
            now = time.monotonic()
            if now >= self._next_refresh:
                self._next_refresh = now + _REFRESH_SECONDS
                self._bar.update(self._task, completed=batch, refresh=True)

    def loss(self, record: dict[str, Any]) -> None:
        """A record of the running loss: ``epoch``, ``batch`` and ``loss``."""
        if self._bar is not None:
            self._bar.update(self._task, completed=record["batch"], loss=f"loss {record['loss']:.3f}")
        else:
            self.note(f"[{record['epoch']}, {record['batch']:5d}] loss: {record['loss']:.3f}")

    def end_epoch(self, record: dict[str, Any]) -> None:
        """A record of a finished epoch."""
        if self._bar is not None:
            self._bar.stop()
        parts = [part for part in ("val", "test") if f"{part}_accuracy" in record]
        measures = [
            f"{part} accuracy {record[f'{part}_accuracy']:.2%}, {part} loss {record[f'{part}_loss']:.4f}"
            for part in parts
        ]
        self.note(
            f"epoch {record['epoch']}: {', '.join(measures)}, train loss {record['train_loss']:.4f}; "
            f"{record['train_seconds']:.2f} s training, "
            f"{sum(record[f'{part}_seconds'] for part in parts):.2f} s testing"
        )
