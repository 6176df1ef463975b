"""The directory of a run: its lock, configuration, environment, metrics and checkpoints."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor, nn

from mnist_fast.checkpoint import BEST, LAST, CheckpointError, load_checkpoint, save_weights
from mnist_fast.config import Config, read_toml
from mnist_fast.files import OutputError, check_room, remove_stale_temporaries, write_atomically
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.runs.environment import describe_environment
from mnist_fast.runs.metrics import JSONL, MetricsLog
from mnist_fast.runs.states import load_newest_state, save_state, state_files

CONFIG = "config.toml"
ENVIRONMENT = "environment.json"
_LOCK = ".lock"
_SEAL = "# sha256 of the lines above: "


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


def newest_run() -> Path | None:
    """The directory under ``./runs`` whose weights were saved last; None: there is none with weights."""
    saved = [file for name in (BEST, LAST) for file in Path("runs").glob(f"*/{name}")]
    return max(saved, key=lambda file: file.stat().st_mtime).parent if saved else None


def has_run(path: Path) -> bool:
    """Whether a run has written anything in ``path``."""
    return bool(state_files(path)) or any((path / name).exists() for name in (CONFIG, ENVIRONMENT, JSONL, LAST, BEST))


class RunDirectory:
    """A run's directory, held by this process alone while it is entered.

    Args:
        path: created where it is missing, with its parents.
        resume: go on with the run that is there; where there is none, begin one.
        warn: told, in one line each, of files that are damaged and what is done without them.

    Raises:
        OutputError: on entering: it cannot be created or written, another process holds it, or it has a run and
            ``resume`` is False. Nothing is overwritten.
    """

    def __init__(self, path: str | Path, *, resume: bool = False, warn: Callable[[str], None] = warnings.warn) -> None:
        self.path = Path(path)
        self.resume = resume
        self._warn = warn
        self._lock = FileLock(self.path / _LOCK)
        self._metrics = MetricsLog(self.path)
        self._config: Config | None = None  # of the run that has begun
        self._step, self._mark = 0, None  # where the state that it goes on from was saved
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
            check_room(self.path, [1])
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(f"another process is training in {self.path}; choose another --output") from None
        except NotImplementedError:
            raise OutputError(f"the file system of {self.path} has no file locks; choose another --output") from None
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

    def read_config(self) -> dict[str, Any]:
        """The options of the run that is there; empty where there is none yet.

        Those of the newest state, where ``config.toml`` is not as it was written. Raises CheckpointError: neither.
        """
        path = self.path / CONFIG
        if _is_sealed(path):
            return read_toml(path)
        state = load_newest_state(self.path, lambda _: None)
        if state is not None:
            config: dict[str, Any] = state["config"]
            return config
        if path.exists():
            raise CheckpointError(f"{path} was edited or is damaged, and no state is saved yet; delete {self.path}")
        return {}

    def load_state(self) -> dict[str, Any] | None:
        """The state to go on from, or None where the run has saved none yet: the newest that is whole.

        Raises CheckpointError: all are damaged.
        """
        state = load_newest_state(self.path, self._warn)
        if state is not None:
            self._step, self._mark = state["step"], state["metrics"]
            if not _is_sealed(self.path / CONFIG):
                path = self.path / CONFIG
                self._warn(f"{path} was edited or is damaged: going on with the options in the saved state")
        return state

    def begin(self, config: Config, model: nn.Module) -> None:
        """Write ``config.toml`` and ``environment.json``, and drop the metrics that came after the state.

        Raises:
            OutputError: there is no room for a checkpoint of ``model``; nothing is changed.
        """
        size = sum(tensor.nbytes for tensor in model.state_dict().values())
        check_room(self.path, [size, size, 2 * size])  # last, best, and the state with an optimizer's at the least
        environment = {**describe_environment(next(model.parameters()).device), "step": self._step}
        if self._mark is not None:
            environment["earlier"] = self._read_environments()
            self._check_best()
        write_atomically(self.path / ENVIRONMENT, f"{json.dumps(environment, indent=2)}\n".encode())
        write_atomically(self.path / CONFIG, _seal(config.to_toml().encode()))
        problem = self._metrics.rewind(self._step, self._mark)
        if problem:
            self._warn(problem)
        self._config = config

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``."""
        self._metrics.append(record)

    def save(self, weights: Weights, state: dict[str, Any], *, best: bool) -> None:
        """Save the weights as the last ones, and as the best ones if they are, then the state.

        The state comes last: killed in between, the run resumes from the state before and writes the same again.
        """
        assert self._config is not None, "begin comes first"
        for path in [self.last, self.best] if best else [self.last]:
            save_weights(path, weights.spec, weights.weights, weights.details)
        config = {name: value for name, value in asdict(self._config).items() if value is not None}
        state = {**state, "config": config, "metrics": self._metrics.mark()}
        save_state(self.path, state, keep=self._config.keep)

    def _read_environments(self) -> list[dict[str, Any]]:
        """The environments of the processes that have trained here, the earliest first."""
        try:
            latest = json.loads((self.path / ENVIRONMENT).read_bytes())
            return [*latest.pop("earlier", []), latest]
        except (OSError, ValueError, AttributeError, TypeError):
            self._warn(f"{self.path / ENVIRONMENT} is missing or damaged: what the run began on is not known")
            return []

    def _check_best(self) -> None:
        try:
            if self.best.is_file():
                load_checkpoint(self.best)
        except CheckpointError as error:
            self._warn(f"{error}; the next best epoch will replace it")


def _seal(content: bytes) -> bytes:
    return content + f"{_SEAL}{hashlib.sha256(content).hexdigest()}\n".encode()


def _is_sealed(path: Path) -> bool:
    """Whether a file is there and as :func:`_seal` made it."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return _seal(content[: content.rfind(_SEAL.encode())]) == content
