"""Checkpoints: what is written loads again, here and in plain PyTorch; what is damaged never does."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mnist_fast.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_weights,
)
from mnist_fast.errors import UsageError
from mnist_fast.files import OutputError, remove_stale_temporaries, write_atomically
from mnist_fast.models import get_model
from mnist_fast.models.spec import NetworkSpec

SPEC = NetworkSpec("speedrun", 10, 0.1307, 0.3081)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / LAST
    save_weights(path, SPEC, get_model("speedrun").state_dict(), {"dataset": "mnist", "test_accuracy": 0.99})
    return path


def _equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_round_trip(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    assert checkpoint.spec == SPEC
    assert checkpoint.details == {"dataset": "mnist", "test_accuracy": 0.99}
    images = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(checkpoint.build()(images), checkpoint.build(fused=False)(images))


def test_loads_in_plain_pytorch(saved: Path) -> None:
    assert _equal(safetensors.torch.load_file(saved), load_checkpoint(saved).weights)


def test_the_same_content_gives_the_same_file(saved: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(saved)
    save_weights(tmp_path / "again.safetensors", checkpoint.spec, checkpoint.weights, checkpoint.details)
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_a_directory_means_its_best_else_its_last(saved: Path) -> None:
    assert load_checkpoint(saved.parent).path == saved
    (saved.parent / BEST).write_bytes(saved.read_bytes())
    assert load_checkpoint(saved.parent).path == saved.parent / BEST


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither best\.safetensors nor last\.safetensors"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_another_network(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="of speedrun, not of cnn"):
        load_checkpoint(saved, arch="cnn")


def _positions(content: bytes, count: int) -> list[int]:
    """The whole header's beginning, where one bit changes most, and a sample of the rest."""
    return [*range(120), *random.Random(1).sample(range(120, len(content)), count)]


def test_no_flipped_bit_loads(saved: Path) -> None:
    content = saved.read_bytes()
    for position in _positions(content, 300):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(saved, arch="speedrun")  # with --arch a foreign file would do: a damaged one of ours not
        assert str(saved) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, 1000, 40_000, -1])
def test_no_truncated_file_loads(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(saved, arch="speedrun")


@pytest.mark.parametrize("name", ["page.safetensors", "page.pt", "page"])
def test_a_web_page_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<!DOCTYPE html><html>Not found</html>" * 50)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / name, arch="cnn")


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_plain_state_dict_needs_arch(tmp_path: Path, suffix: str, wrap: str | None) -> None:
    path, weights = tmp_path / f"plain{suffix}", get_model("lenet", num_classes=26).state_dict()
    if suffix == ".safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save({wrap: weights} if wrap else weights, path)
    with pytest.raises(UsageError, match="add --arch"):
        load_checkpoint(path)
    checkpoint = load_checkpoint(path, arch="lenet")
    assert checkpoint.spec == NetworkSpec("lenet", 26, 0.1307, 0.3081)
    assert _equal(checkpoint.build().state_dict(), weights)
    with pytest.raises(CheckpointError, match="no state_dict of cnn"):
        load_checkpoint(path, arch="cnn")


def test_a_plain_state_dict_of_the_wrong_shape(tmp_path: Path) -> None:
    weights = get_model("lenet").state_dict()
    weights["fc1.weight"] = torch.zeros(3, 3)
    torch.save(weights, tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match=r"do not fit lenet: .*fc1\.weight") as caught:
        load_checkpoint(tmp_path / "plain.pt", arch="lenet").build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flips", [100, pytest.param(2000, marks=pytest.mark.long)])
def test_no_flipped_bit_changes_the_tensors_of_a_plain_state_dict(flips: int, tmp_path: Path) -> None:
    """Nothing but the archive's checksums tells: what they do not cover does not matter."""
    path, weights = tmp_path / "plain.pt", get_model("speedrun").state_dict()
    torch.save(weights, path)
    content = path.read_bytes()
    refused = []
    for position in random.Random(4).sample(range(len(content)), flips):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert _equal(load_checkpoint(path, arch="speedrun").weights, weights)
        except CheckpointError as error:
            refused.append(str(error))
    assert len(refused) > 0.9 * flips
    assert not any("\n" in line for line in refused)


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_malicious_pickle_has_no_side_effect(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.save({"state_dict": _Malicious(trap)}, tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(_Malicious(trap)))
    for name in ("zip.pt", "bare.pt"):
        with pytest.raises(CheckpointError, match="not loaded"):
            load_checkpoint(tmp_path / name, arch="cnn")
    assert not trap.exists()


def test_an_unwritable_file_keeps_the_old_one(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*last\.safetensors: No space left on device"):
        save_weights(saved, SPEC, {"w": torch.zeros(3)}, {})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [LAST]


def test_writing_where_no_directory_is(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        write_atomically(tmp_path / "none" / "file", b"")


def test_stale_temporaries_go_and_other_files_stay(tmp_path: Path) -> None:
    for name in (".last.safetensors.123.tmp", "mine.tmp", ".hidden"):
        (tmp_path / name).touch()
    remove_stale_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "mine.tmp"]


def test_a_linear_head_is_remembered(tmp_path: Path) -> None:
    spec = NetworkSpec("lenet", 5, 0.0, 1.0, head="linear")
    model = spec.build()
    save_weights(tmp_path / LAST, spec, model.state_dict(), {})
    loaded: Checkpoint = load_checkpoint(tmp_path)
    assert loaded.spec == spec
    assert _equal(loaded.build().state_dict(), model.state_dict())
