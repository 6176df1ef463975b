"""Damaged and malicious files: none loads silently; one line says which, and what is done without it."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from tiny import tiny_config, tiny_dataset

from mnist_fast.checkpoint import CheckpointError, load_checkpoint
from mnist_fast.cli import main
from mnist_fast.progress import Reporter
from mnist_fast.runs import RunDirectory
from mnist_fast.runs.states import load_state, save_state, state_files
from mnist_fast.training import train

NEWEST = "state-00000012.pt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended, with its two newest states."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    torch.set_num_threads(2)  # as the tests have
    with RunDirectory(path) as run:
        train(tiny_config(arch="lenet"), tiny_dataset(), run=run)
    return path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def _resume(path: Path) -> list[str]:
    """Resume the run as the command line does; the warnings."""
    warnings: list[str] = []
    with RunDirectory(path, resume=True, warn=warnings.append) as run:
        options = run.read_config()
        assert options["arch"] == "lenet"
        train(tiny_config(**options), tiny_dataset(), run=run)
    return warnings


def _same_weights(one: Path, two: Path) -> bool:
    pairs = [
        (load_checkpoint(one / name).weights, load_checkpoint(two / name).weights)
        for name in ("last.safetensors", "best.safetensors")
    ]
    return all(torch.equal(first[key], second[key]) for first, second in pairs for key in first | second)


def _losses(path: Path) -> list[Any]:
    return [json.loads(line).get("loss") for line in (path / "metrics.jsonl").read_text().splitlines()]


def _flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("flips", [60, pytest.param(500, marks=pytest.mark.long)])
def test_no_flipped_bit_goes_unnoticed(flips: int, whole: Path, run: Path) -> None:
    """In weights, state, configuration and metrics by turns; half of them in a file's first 400 bytes.

    Damaged weights are refused. A run with any of the others damaged is resumed, with a warning that names the file, to
    the same end.
    """
    generator = random.Random(6)
    names = ("last.safetensors", "best.safetensors", NEWEST, "config.toml", "metrics.jsonl")
    for number in range(flips):
        name = names[number % len(names)]
        path = run / name
        size = (whole / name).stat().st_size
        _flip(path, generator.randrange(8 * (min(size, 400) if number % 2 else size)))
        if name.endswith(".safetensors"):
            with pytest.raises(CheckpointError) as caught:
                load_checkpoint(path, arch="lenet")  # with --arch a foreign file would do
            lines = [str(caught.value)]
        elif name == NEWEST:
            with pytest.raises(CheckpointError) as caught:
                load_state(path)
            lines = [str(caught.value)]
        else:
            lines = _resume(run)
            assert _same_weights(whole, run)
        assert len(lines) == 1
        assert name in lines[0]
        assert "\n" not in lines[0]
        shutil.copytree(whole, run, dirs_exist_ok=True)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "web page": lambda content: b"<!DOCTYPE html><html>Not found</html>",
    "another state": lambda content: content + content,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_replaced_by_the_one_before(damage: str, whole: Path, run: Path) -> None:
    (run / NEWEST).write_bytes(DAMAGES[damage]((run / NEWEST).read_bytes()))
    (line,) = _resume(run)
    assert "state-00000012.pt is damaged" in line
    assert "going on from state-00000006.pt" in line
    assert _same_weights(whole, run)
    assert _losses(whole) == _losses(run)
    assert [path.name for path in state_files(run)] == [NEWEST, "state-00000006.pt"]
    assert _resume(run) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_replaced_or_told(damage: str, whole: Path, run: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        (run / name).write_bytes(DAMAGES[damage]((run / name).read_bytes()))
    (line,) = _resume(run)
    assert "best.safetensors is damaged" in line
    assert "the next best epoch will replace it" in line
    shutil.copy(whole / "best.safetensors", run)
    assert _same_weights(whole, run)  # the last weights were in the state


def test_what_is_lost_altogether(whole: Path, run: Path) -> None:
    for name in ("config.toml", "environment.json", "metrics.jsonl", "metrics.csv", "last.safetensors"):
        (run / name).unlink()
    lines = _resume(run)
    assert [name in line for name, line in zip(("config.toml", "environment.json", "metrics"), lines, strict=True)] == [
        True
    ] * 3
    assert load_checkpoint(run / "last.safetensors").weights.keys() == load_checkpoint(whole).weights.keys()


def _cli(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", ["eval", "finetune"])
def test_the_command_line_refuses_a_damaged_checkpoint(command: str, damage: str, run: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        (run / name).write_bytes(DAMAGES[damage]((run / name).read_bytes()))
    result = _cli(command, run / "last.safetensors", "--dataset", "digits", "--offline")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert str(run / "last.safetensors") in result.stderr
    directory = _cli(command, run, "--dataset", "digits", "--offline")
    assert (directory.exit_code, "best.safetensors" in directory.stderr) == (1, True)


class _Malicious:
    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trap),)


def test_a_malicious_pickle_does_nothing(run: Path, tmp_path: Path) -> None:
    """As a checkpoint, in both formats of torch and bare, and as a state under a digest that is right."""
    trap = tmp_path / "trap"
    torch.save({"state_dict": _Malicious(trap)}, tmp_path / "zip.pt")
    torch.save(_Malicious(trap), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(_Malicious(trap)))
    for name in ("zip.pt", "old.pth", "bare.pt"):
        for command in ("eval", "finetune"):
            result = _cli(command, tmp_path / name, "--arch", "lenet", "--dataset", "digits", "--offline")
            assert (result.exit_code, result.stdout) == (1, "")
            assert result.stderr.count("\n") == 1
            assert f"{name} holds more than tensors and plain values" in result.stderr
    save_state(run, {"step": 18, "model": _Malicious(trap)}, keep=3)
    (line,) = _resume(run)
    assert "state-00000018.pt holds more than tensors" in line
    assert not trap.exists()
    pickle.loads(pickle.dumps(_Malicious(trap)))
    assert trap.exists()  # it would have worked


def test_warnings_are_seen_in_spite_of_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter(quiet=True).note("progress")
    Reporter(quiet=True).warn("state-00000012.pt is damaged")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "warning: state-00000012.pt is damaged\n")
