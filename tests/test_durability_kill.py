"""Ended by a signal at any moment, a run leaves files that load and ends, resumed, as if nothing had happened."""

from __future__ import annotations

import csv
import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fork_server import ForkServer

from mnist_fast.checkpoint import load_checkpoint, save_weights
from mnist_fast.models import get_model
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.runs.states import load_state, state_files

# Each saves in mid-epoch, too. The time of a run is short, so that most of it is saving.
RUNS: dict[str, dict[str, Any]] = {
    "muon and adam": {"save_every": 1},
    "one-cycle": {"arch": "lenet", "optimizer": "sgd", "schedule": "one-cycle", "save_every": 2, "keep": 1},
    "unequal batches": {
        "arch": "anchor",
        "schedule": "cosine",
        "images_per_epoch": 50,
        "batch_size": 9,
        "log_every": 4,
    },
    "averaged": {"arch": "lenet", "optimizer": "adam", "batch_size": 5, "accumulate": 3, "warmup_steps": 4, "ema": 0.9}
    | {"clip_grad_norm": 1.0, "weight_decay": 0.01, "save_every": 2, "keep": 3},
    "dropout": {"arch": "cnn-dropout", "optimizer": "adam", "epochs": 1, "batch_size": 24, "save_every": 1},
    "fine-tuning": {"log_every": 4, "head": "linear", "freeze": "conv", "arch": "lenet", "save_every": 2},
}


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        yield server


class Whole:
    """The runs that nothing interrupts, each trained when it is first asked for."""

    def __init__(self, server: ForkServer, directory: Path) -> None:
        self._server, self._directory = server, directory
        self._seconds: dict[str, float] = {}
        torch.manual_seed(3)
        start = directory / "start.safetensors"
        save_weights(start, NetworkSpec("lenet", 10, 0.17, 0.3), get_model("lenet").state_dict(), {})
        self._options = {
            name: {**RUNS[name], **({"checkpoint": str(start)} if "freeze" in RUNS[name] else {})} for name in RUNS
        }

    def __call__(self, name: str) -> tuple[dict[str, Any], Path, float]:
        """The run's options, its directory, and the seconds it took."""
        if name not in self._seconds:
            clock = time.perf_counter()
            self._server.train(self._options[name], self._directory / name)
            self._seconds[name] = time.perf_counter() - clock
        return self._options[name], self._directory / name, self._seconds[name]


@pytest.fixture(scope="module")
def whole(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(server, tmp_path_factory.mktemp("whole"))


def _without_times(value: Any) -> Any:
    """A state or record without what may differ, tensors as their bytes: what must be equal to the bit."""
    if isinstance(value, dict):
        may_differ = ("seconds", "epoch_seconds", "train_seconds", "test_seconds", "val_seconds", "metrics")
        return {key: _without_times(item) for key, item in value.items() if key not in may_differ}
    if isinstance(value, (list, tuple)):
        return [_without_times(item) for item in value]
    return value.numpy().tobytes() if isinstance(value, torch.Tensor) else value


def _records(run: Path) -> list[dict[str, Any]]:
    return [_without_times(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _check_files_load(run: Path) -> None:
    for path in run.glob("*.safetensors"):
        load_checkpoint(path).build()
    for path in state_files(run):
        load_state(path)


def _names(run: Path) -> set[str]:
    """The files in a run, but for older states: a signal leaves one in mid-epoch."""
    return {path.name for path in run.iterdir()} - {".lock"} - {path.name for path in state_files(run)[1:]}


def _check_equal(run: Path, whole: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        weights = [_without_times(load_checkpoint(path / name).weights) for path in (run, whole)]
        assert weights[0] == weights[1], name
    states = [_without_times(load_state(state_files(path)[0])) for path in (run, whole)]
    assert states[0] == states[1]
    assert _records(run) == _records(whole)
    with (run / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == [str(record["step"]) for record in _records(run)]
    assert _names(run) == _names(whole)
    assert len(state_files(run)) == len(state_files(whole))


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("muon and adam", 37),
        ("fine-tuning", 23),
        *(pytest.param(name, 7, marks=pytest.mark.long) for name in RUNS),
        pytest.param("one-cycle", 1, marks=pytest.mark.long),
    ],
)
def test_killed_before_an_operation_on_files(
    name: str, stride: int, server: ForkServer, whole: Whole, tmp_path: Path
) -> None:
    """At every operation that opens, renames or deletes a file, or at every so many."""
    options, expected, _ = whole(name)
    operation, status = stride // 2, -9
    while status != 0:
        run = tmp_path / str(operation)
        status = server.train(options, run, kill_at=operation)
        _check_files_load(run)
        server.train(options, run, resume=True)
        _check_equal(run, expected)
        operation += stride
    assert operation // stride > 3


@pytest.mark.parametrize("size", [100_000, 300_000])  # of 163 kB of weights, of 490 kB of state
def test_killed_in_the_middle_of_a_write(size: int, server: ForkServer, whole: Whole, tmp_path: Path) -> None:
    options, expected, _ = whole("muon and adam")
    run = tmp_path / "run"
    server.train(options, run, kill_at=100)  # some saves are there already
    assert len(state_files(run)) == 2
    assert server.train(options, run, resume=True, kill_size=size) == -signal.SIGXFSZ
    _check_files_load(run)
    assert list(run.glob(".*.tmp"))
    server.train(options, run, resume=True)
    _check_equal(run, expected)


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.long)])
def test_killed_at_random_moments(kills: int, server: ForkServer, whole: Whole, tmp_path: Path) -> None:
    """Half of the runs are killed again when they have been resumed; that counts as another kill."""
    generator = random.Random(5)
    killed = trials = 0
    while killed < kills:
        assert trials < 10 * kills, "the runs end before they are killed"
        options, expected, seconds = whole(generator.choice(list(RUNS)))
        run = tmp_path / str(trials)
        trials += 1
        while server.train(options, run, resume=True, kill_after=generator.uniform(0, seconds)) != 0:
            killed += 1
            _check_files_load(run)
            if generator.random() < 0.5:
                break
        server.train(options, run, resume=True)
        _check_equal(run, expected)


@pytest.mark.parametrize("trials", [4, pytest.param(60, marks=pytest.mark.long)])
def test_interrupted_at_random_moments(trials: int, server: ForkServer, whole: Whole, tmp_path: Path) -> None:
    """SIGINT and SIGTERM: the step is finished and its state saved, wherever it is."""
    generator = random.Random(8)
    for trial in range(trials):
        options, expected, seconds = whole(generator.choice(list(RUNS)))
        number = (signal.SIGINT, signal.SIGTERM)[trial % 2]
        run = tmp_path / str(trial)
        moment = generator.uniform(0, seconds / 2)
        status = server.train(options, run, kill_after=moment, number=number)
        if status != 0:  # it had not ended before
            assert status == 128 + number
            saved = load_state(state_files(run)[0])["step"]
            assert load_checkpoint(run / "last.safetensors").details["step"] == saved > 0
        server.train(options, run, resume=True)
        _check_equal(run, expected)
