"""Disks that are full and directories that are read-only: told in one line, and the previous checkpoint stays."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mnist_fast.checkpoint import load_checkpoint
from mnist_fast.cli import main

# 163 kB of weights; 494 kB of state with the optimizers'.
TRAIN = ["train", "--arch", "speedrun", "--dataset", "digits", "--offline", "--device", "cpu", "--schedule", "constant"]
STATE_ONE, STATE_TWO = "state-00000012.pt", "state-00000024.pt"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, [*TRAIN, *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """While it is entered, no file of this process may grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _weights(run: str) -> dict[str, bytes]:
    weights = load_checkpoint(Path(run, "last.safetensors")).weights
    return {name: value.numpy().tobytes() for name, value in weights.items()}


def test_too_little_room_is_found_before_training() -> None:
    with _largest_file(100_000):
        result = _run("--output", "run")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot write to the output directory run: File too large; a run needs 0.6 MiB" in result.stderr
    assert "test accuracy" not in result.stderr
    assert not Path("run").exists()


def test_a_state_that_does_not_fit_is_told_and_the_one_before_stays() -> None:
    assert _run("--output", "whole", "--epochs", "2").exit_code == 0
    assert _run("--output", "run", "--epochs", "1").exit_code == 0
    before = Path("run", STATE_ONE).read_bytes()
    with _largest_file(400_000):
        result = _run("--output", "run", "--epochs", "2", "--resume")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"mnist-fast: error: cannot write run/{STATE_TWO}: File too large"
    assert Path("run", STATE_ONE).read_bytes() == before
    assert not list(Path("run").glob(".*.tmp"))
    load_checkpoint("run")
    assert _run("--output", "run", "--epochs", "2", "--resume").exit_code == 0
    assert _weights("run") == _weights("whole")


def test_metrics_on_a_full_disk() -> None:
    Path("run").mkdir()
    Path("run/metrics.jsonl").symlink_to("/dev/full")
    result = _run("--output", "run", "--resume")
    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[-1] == "mnist-fast: error: cannot write run/metrics.jsonl: No space left on device"
    )


def test_a_result_that_cannot_be_printed() -> None:
    command = [sys.executable, "-m", "mnist_fast", *TRAIN, "--epochs", "1", "--output", "run", "--json", "--quiet"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "mnist-fast: error: No space left on device\n"
    load_checkpoint("run")


def _mounted(script: str) -> str:
    """What a shell script prints that may mount file systems: as the root of namespaces of its own."""
    program = f"{sys.executable} -m mnist_fast"
    train = f'train() {{ {program} {" ".join(TRAIN)} "$@" || echo "exit $?"; }}'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-euc"]
    try:
        subprocess.run([*command, "mkdir probe; mount -t tmpfs none probe"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a mount namespace, which this machine does not give to this user")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, f"{train}; mkdir disk; {script}"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_read_only_file_system_is_found_before_training() -> None:
    output = _mounted("mount -t tmpfs -o ro none disk; train --output disk/run --quiet")
    assert output == "exit 1\nmnist-fast: error: cannot write to the output directory disk/run: Read-only file system\n"


@pytest.mark.long
def test_a_file_system_that_turns_read_only() -> None:
    output = _mounted(
        """
        mount -t tmpfs none disk
        train --epochs 1 --output disk/run --quiet
        mount -o remount,ro disk
        train --epochs 2 --output disk/run --quiet --resume
        mount -o remount,rw disk
        train --epochs 2 --output disk/run --quiet --resume
        train --epochs 2 --output whole --quiet
        cp -r disk/run run
        """
    )
    assert output.count("exit") == 1
    assert "cannot write to the output directory disk/run: Read-only file system" in output
    assert _weights("run") == _weights("whole")


@pytest.mark.long
def test_a_disk_that_fills_up() -> None:
    output = _mounted(
        """
        mount -t tmpfs -o size=500k none disk
        train --epochs 1 --output disk/run --quiet
        mount -o remount,size=1800k disk
        train --epochs 1 --output disk/run --quiet
        dd if=/dev/zero of=disk/other bs=1k count=500 2> /dev/null
        train --epochs 2 --output disk/run --quiet --resume
        rm disk/other
        train --epochs 2 --output disk/run --quiet --resume
        train --epochs 2 --output whole --quiet
        cp -r disk/run run
        """
    )
    assert output.count("exit 1") == output.count("No space left on device") == 2
    assert _weights("run") == _weights("whole")
