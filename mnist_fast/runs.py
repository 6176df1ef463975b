"""The directory of a run: its lock, configuration, metrics and checkpoints."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from mnist_fast.checkpoint import BEST, LAST, load_state, save_state, save_weights
from mnist_fast.config import Config, read_toml
from mnist_fast.files import OutputError, remove_stale_temporaries, write_atomically
from mnist_fast.models.spec import NetworkSpec

CONFIG = "config.toml"
METRICS = "metrics.jsonl"
STATE = "state.pt"
_LOCK = ".lock"
_CONTENT = (CONFIG, METRICS, STATE, LAST, BEST)


@dataclass(frozen=True)
class Weights:
    """A network's weights as a checkpoint wants them."""

    spec: NetworkSpec
    weights: dict[str, Tensor]
    details: dict[str, Any]


def default_output(arch: str) -> Path:
    """A directory under ``./runs`` that does not exist yet, named by the network and the time."""
    name = f"{arch}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = [Path("runs", name), *(Path("runs", f"{name}-{number}") for number in range(2, 1000))]
    return next(candidate for candidate in candidates if not candidate.exists())


def has_run(path: Path) -> bool:
    """Whether a run has written anything in ``path``."""
    return any((path / name).exists() for name in _CONTENT)


class RunDirectory:
    """A run's directory, held by this process alone while it is entered.

    Args:
        path: created where it is missing, with its parents.
        resume: go on with the run that is there; where there is none, begin one.

    Raises:
        OutputError: on entering: it cannot be created or written, another process holds it, or it has a run and
            ``resume`` is False. Nothing is overwritten.
    """

    def __init__(self, path: str | Path, *, resume: bool = False) -> None:
        self.path = Path(path)
        self.resume = resume
        self._lock = FileLock(self.path / _LOCK)
        self._created: list[Path] = []

    @property
    def last(self) -> Path:
        return self.path / LAST

    @property
    def best(self) -> Path:
        return self.path / BEST

    def __enter__(self) -> RunDirectory:
        try:
            self._created = [path for path in (self.path, *self.path.parents) if not path.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"0")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(f"another process is training in {self.path}; choose another --output") from None
        except OSError as error:
            reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
            raise OutputError(f"cannot write to the output directory {self.path}: {reason}") from None
        if has_run(self.path) and not self.resume:
            self._lock.release()
            raise OutputError(f"{self.path} has a run already; continue it with --resume or choose another --output")
        remove_stale_temporaries(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        unused = not has_run(self.path)
        if unused:  # nothing came of it (no data, say): leave no trace
            (self.path / _LOCK).unlink(missing_ok=True)
        self._lock.release()
        if unused:
            with contextlib.suppress(OSError):  # someone else's files are in it
                for path in self._created:
                    path.rmdir()

    def write_config(self, config: Config) -> None:
        """Write ``config.toml``."""
        write_atomically(self.path / CONFIG, config.to_toml().encode())

    def read_config(self) -> dict[str, Any]:
        """The options of the run that is there; empty where there is none yet."""
        return read_toml(self.path / CONFIG) if (self.path / CONFIG).exists() else {}

    def load_state(self) -> dict[str, Any] | None:
        """The state to resume in, or None where the run has saved none yet. Raises CheckpointError: damaged."""
        return load_state(self.path / STATE) if (self.path / STATE).exists() else None

    def save(self, weights: Weights, state: dict[str, Any], *, best: bool) -> None:
        """Save the weights as the last ones, and as the best ones if they are, then the state.

        The state comes last: killed in between, the run resumes from the state before and writes the same again.
        """
        for path in [self.last, self.best] if best else [self.last]:
            save_weights(path, weights.spec, weights.weights, weights.details)
        save_state(self.path / STATE, state)

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``."""
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.path / METRICS}: {error.strerror}") from None

    def truncate_metrics(self, step: int) -> None:
        """Drop the records of steps after ``step``, which the resumed run is about to do again."""
        path = self.path / METRICS
        if path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _is_up_to(line, step)]
            write_atomically(path, "".join(f"{line}\n" for line in kept).encode())


def _is_up_to(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except ValueError:  # the process was killed while it wrote this line
        return False
