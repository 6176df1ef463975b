"""The states of a run: what is written loads again, what is damaged never does, and the one before takes its place."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_fast.checkpoint import CheckpointError
from mnist_fast.files import OutputError
from mnist_fast.runs import states
from mnist_fast.runs.states import load_newest_state, load_state, save_state

save = torch.save


def _state(step: int = 3) -> dict[str, Any]:
    return {"step": step, "model": {"w": torch.randn(5, 5)}, "loss": 0.1, "history": [{"a": 1}], "t": (1, 2), "n": None}


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _never(line: str) -> None:
    raise AssertionError(line)


def test_round_trip_also_in_plain_pytorch(tmp_path: Path) -> None:
    state = _state()
    save_state(tmp_path, state, keep=1)
    path = tmp_path / "state-00000003.pt"
    for loaded in (load_newest_state(tmp_path, _never), load_state(path), torch.load(path, weights_only=True)):
        assert loaded is not None
        assert torch.equal(loaded.pop("model")["w"], state["model"]["w"])
        loaded.pop("format", None)
        assert loaded == {key: value for key, value in state.items() if key != "model"}


def test_no_damaged_state_loads(tmp_path: Path) -> None:
    save_state(tmp_path, _state(), keep=1)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for position in random.Random(2).sample(range(len(content)), 200):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="digest"):
            load_state(path)
    for damage in (b"", content[:50], content[:-1], content + b"0"):
        path.write_bytes(damage)
        with pytest.raises(CheckpointError, match="digest"):
            load_state(path)
    with pytest.raises(CheckpointError, match="No such file"):
        load_state(tmp_path / "none.pt")


@pytest.mark.parametrize("content", [[1, 2], {"step": 3}])
def test_what_another_version_wrote_is_refused(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states.torch, "save", lambda _, buffer: save(content, buffer))
    save_state(tmp_path, _state(), keep=1)
    with pytest.raises(CheckpointError, match=r"state-00000003\.pt holds no state of a run of this version"):
        load_newest_state(tmp_path, _never)


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 9, 10, 100_000_000):
        save_state(tmp_path, _state(step), keep=3)
    assert _names(tmp_path) == ["state-00000009.pt", "state-00000010.pt", "state-100000000.pt"]
    loaded = load_newest_state(tmp_path, _never)
    assert loaded is not None
    assert loaded["step"] == 100_000_000  # by number, not by letter


def test_the_one_before_takes_the_place_of_a_damaged_one(tmp_path: Path) -> None:
    for step in (4, 8, 12):
        save_state(tmp_path, _state(step), keep=3)
    _flip(tmp_path / "state-00000012.pt")
    (tmp_path / "state-00000008.pt").write_bytes(b"")
    warnings: list[str] = []
    loaded = load_newest_state(tmp_path, warnings.append)
    assert loaded is not None
    assert loaded["step"] == 4
    assert ["state-00000012.pt is damaged" in warnings[0], "state-00000008.pt is damaged" in warnings[1]] == [True] * 2
    assert all("going on from state-00000004.pt" in line and "\n" not in line for line in warnings)
    save_state(tmp_path, _state(6), keep=3)  # the run comes by again: the damaged ones go
    assert _names(tmp_path) == ["state-00000004.pt", "state-00000006.pt"]


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    for step in (4, 8):
        save_state(tmp_path, _state(step), keep=2)
        _flip(tmp_path / f"state-{step:08d}.pt")
    with pytest.raises(CheckpointError, match=r"state-00000008\.pt is damaged.* so are the 1 before.*--output"):
        load_newest_state(tmp_path, _never)


def test_none_yet(tmp_path: Path) -> None:
    assert load_newest_state(tmp_path, _never) is None


def test_nothing_is_deleted_when_the_new_one_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, _state(4), keep=1)

    def full(path: Path, _content: bytes) -> None:
        raise OutputError(f"cannot write {path}")

    monkeypatch.setattr(states, "write_atomically", full)
    with pytest.raises(OutputError):
        save_state(tmp_path, _state(8), keep=1)
    assert _names(tmp_path) == ["state-00000004.pt"]
