"""Several processes under torchrun: the same run as in one, one writer, and an end where a process dies.

One quick test by default; the others, each of several runs, are long.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from mnist_fast.checkpoint import load_checkpoint
from mnist_fast.cli import main
from mnist_fast.data import epoch_order
from mnist_fast.errors import UsageError
from mnist_fast.parallel import Workers, joined

# Odd numbers, so that processes get shares of different sizes, and none of the last steps' single image.
DIGITS = [
    "--dataset",
    "digits",
    "--offline",
    "--device",
    "cpu",
    "--arch",
    "lenet",
    "--optimizer",
    "sgd",
    "--lr",
    "0.01",
]
DIGITS += ["--batch-size", "31", "--images-per-epoch", "1427", "--log-every", "1", "--seed", "2", "--json"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as torchrun sets it


def command(processes: int, *arguments: str) -> list[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [sys.executable, *(torchrun if processes > 1 else []), "-m", "mnist_fast", *arguments]


def run(processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(processes, *arguments), capture_output=True, text=True, check=False, timeout=300)


def losses(directory: str) -> list[float]:
    records = [json.loads(line) for line in Path(directory, "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["event"] == "loss"]


def weights(directory: str) -> dict[str, torch.Tensor]:
    return load_checkpoint(Path(directory, "last.safetensors")).weights


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # one process reports
    return json.loads(line)


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_leave_nothing_out_and_take_nothing_twice(rows: int, world: int) -> None:
    order = epoch_order(rows, 0, 0)
    shares = [Workers(rank, world).share(order) for rank in range(world)]
    assert sorted(torch.cat(shares).tolist()) == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_gpu_is_not_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UsageError, match="use --device cuda"), joined("cuda:0"):
        pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="2 processes need as many GPUs, and this machine has 1"), joined("auto"):
        pass


def test_two_processes_are_one() -> None:
    # Few steps: roundings differ, and some sixty steps on a changed tie makes a large difference of that.
    options = ["--epochs", "2", "--images-per-epoch", "621"]
    options += ["--val-fraction", "0.1", "--clip-grad-norm", "2", "--ema", "0.9"]
    two = summary(run(2, "train", *DIGITS, *options, "--output", "two"))
    torch.set_num_threads(1)
    one = json.loads(CliRunner().invoke(main, ["train", *DIGITS, *options, "--output", "one"]).stdout)
    assert len(losses("two")) == 42
    assert losses("two") == pytest.approx(losses("one"), rel=1e-4)
    for name in ("test_loss", "val_loss"):
        assert two[name] == pytest.approx(one[name], rel=1e-4)
    assert (two["test_accuracy"], two["macro"]) == (one["test_accuracy"], one["macro"])
    for name, value in weights("one").items():
        torch.testing.assert_close(weights("two")[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.long
def test_two_processes_on_the_real_data(mnist_root: Path) -> None:
    """50 steps of Adam, which turns small differences into large ones where gradients are nearly 0."""
    options = [
        "--arch",
        "cnn",
        "--dataset",
        "mnist",
        "--data-dir",
        str(mnist_root),
        "--device",
        "cpu",
        "--log-every",
        "1",
    ]
    options += ["--images-per-epoch", "3200", "--epochs", "1", "--json"]
    for processes in (1, 2):
        summary(run(processes, "train", *options, "--output", str(processes)))
    assert len(losses("1")) == 50
    assert losses("2") == pytest.approx(losses("1"), rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [["--accumulate", "3"], ["--precision", "bf16"], ["--batch-size", "1426"], ["--compile"]],
)
def test_with_other_options(options: list[str]) -> None:
    for processes in (1, 3):
        summary(run(processes, "train", *DIGITS, "--epochs", "1", *options, "--output", str(processes)))
    # Compiled sums differ sooner by so much that another one of nearly equal values in a pooling window is the largest.
    steps = 30 if "--compile" in options else None
    got, expected = losses("3")[:steps], losses("1")[:steps]
    assert got == pytest.approx(expected, rel=3e-2 if "bf16" in options else 1e-4)


@pytest.mark.long
def test_finetuning_on_features_of_frozen_layers() -> None:
    summary(run(1, "train", *DIGITS, "--epochs", "1", "--output", "start"))
    for processes in (1, 2):
        done = run(
            processes, "finetune", "start", *DIGITS, "--epochs", "1", "--freeze", "conv", "--output", str(processes)
        )
        assert summary(done)["start_accuracy"] is not None
    assert losses("2") == pytest.approx(losses("1"), rel=1e-4)


def _interrupt(processes: int, output: str, number: int, *options: str) -> subprocess.Popen[str]:
    """Send a signal to a run once it has trained some steps; returns when it has ended."""
    arguments = command(processes, "train", *DIGITS, "--epochs", "100000", "--schedule", "constant", *options)
    process = subprocess.Popen(
        [*arguments, "--output", output], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not Path(output, "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    return process


def _shorten(output: str) -> int:
    """Let the run end after the epoch that it was interrupted in and one more; returns how many these are."""
    records = [json.loads(line) for line in Path(output, "metrics.jsonl").read_text().splitlines()]
    return int(max(record["epoch"] for record in records)) + 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "before", "after"),
    [
        (signal.SIGTERM, 2, 2),
        (signal.SIGINT, 2, 2),
        (signal.SIGTERM, 2, 1),
        (signal.SIGTERM, 1, 2),
        (signal.SIGTERM, 2, 3),
    ],
)
def test_a_signal_saves_and_another_number_of_processes_goes_on(number: int, before: int, after: int) -> None:
    process = _interrupt(before, "parts", number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "continue it with --resume --output parts" in errors
    epochs = str(_shorten("parts"))
    done = run(after, "train", "--epochs", epochs, "--resume", "--output", "parts", "--json")
    resumed = summary(done)
    whole = summary(run(before, "train", *DIGITS, "--schedule", "constant", "--epochs", epochs, "--output", "whole"))
    assert (f"processes {before} there, {after} now" in done.stderr) == (before != after)
    # Another number of processes rounds otherwise. In time that decides which of two nearly equal values a pooling
    # window takes, and with it where a gradient goes.
    resumed_at = json.loads(Path("parts", "environment.json").read_text())["step"]
    assert losses("parts")[: resumed_at + 10] == pytest.approx(losses("whole")[: resumed_at + 10], rel=1e-4)
    assert resumed["test_accuracy"] == pytest.approx(whole["test_accuracy"], abs=0.05)
    if before == after:
        assert all(torch.equal(value, weights("whole")[name]) for name, value in weights("parts").items())


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_dies_ends_the_run(rank: int) -> None:
    arguments = command(2, "train", *DIGITS, "--epochs", "100000", "--save-every", "1", "--output", "run")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not Path("run/metrics.jsonl").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.kill(_child(process.pid, rank), signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "another process of this run has ended" in errors
    epochs = str(_shorten("run") + 1)
    assert summary(run(1, "train", "--resume", "--epochs", epochs, "--output", "run", "--json"))["test_accuracy"] > 0.5


def _child(parent: int, rank: int) -> int:
    """The process of a rank among the children of torchrun."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(stat[1]) == parent and f"RANK={rank}".encode() in variables:
                return int(entry.name)
    raise AssertionError(f"no process of rank {rank}")
