"""What a run directory holds, and that its configuration repeats the run to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from tiny import tiny_config, tiny_dataset

import mnist_fast
from mnist_fast.checkpoint import CheckpointError, load_checkpoint, save_weights
from mnist_fast.cli import main
from mnist_fast.config import make_config
from mnist_fast.files import OutputError
from mnist_fast.models import get_model
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.runs import RunDirectory, default_output
from mnist_fast.runs import directory as directory_module
from mnist_fast.runs.states import load_state, state_files
from mnist_fast.training import train

OFFLINE = ["--offline", "--device", "cpu", "--quiet"]


def _cli(*arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments, *OFFLINE])
    assert result.exit_code == 0, result.output
    return result.stderr


def _train(path: Path, *, resume: bool = False, **options: Any) -> None:
    with RunDirectory(path, resume=resume) as run:
        train(tiny_config(**options), tiny_dataset(), run=run)


def _environment(path: Path) -> dict[str, Any]:
    return json.loads((path / "environment.json").read_text())


def test_what_it_holds(tmp_path: Path) -> None:
    _train(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == [
        "best.safetensors",
        "config.toml",
        "environment.json",
        "last.safetensors",
        "metrics.csv",
        "metrics.jsonl",
        "state-00000006.pt",
        "state-00000012.pt",
    ]


@pytest.mark.parametrize("command", ["train", "finetune"])
def test_its_configuration_repeats_the_run_to_the_bit(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was given dataset auto, where the data has since become other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNIST_FAST_DATA", str(tmp_path / "no-data"))
    save_weights(Path("start.safetensors"), NetworkSpec("lenet", 10, 0.1, 0.3), get_model("lenet").state_dict(), {})
    source = ["start.safetensors"] if command == "finetune" else ["--arch", "lenet"]
    options = ["--images-per-epoch", "300", "--epochs", "2", "--seed", "7", "--lr", "0.01", "--schedule", "cosine"]
    _cli(command, *source, *options, "--output", "run")
    assert 'dataset = "digits"' in Path("run/config.toml").read_text()
    source = ["start.safetensors"] if command == "finetune" else []
    _cli(command, *source, "--config", "run/config.toml", "--output", "again")
    first, second = (load_checkpoint(Path(name, "last.safetensors")).weights for name in ("run", "again"))
    assert all(torch.equal(first[name], second[name]) for name in first | second)
    assert not torch.equal(first["fc1.weight"], load_checkpoint("start.safetensors").weights["fc1.weight"])
    assert Path("run/config.toml").read_text() == Path("again/config.toml").read_text()
    _cli(command, *source, "--dataset", "auto", "--output", "run", "--resume")


def test_the_environment_says_what_the_run_ran_on(tmp_path: Path) -> None:
    _train(tmp_path)
    environment = _environment(tmp_path)
    assert environment["mnist_fast"] == mnist_fast.__version__
    assert environment["torch"] == torch.__version__
    assert (environment["threads"], environment["device"], environment["step"]) == ("2", "cpu", 0)
    assert environment["kernels"] == mnist_fast.backend_info()["cpu"]["isa"]
    assert environment["command"]
    _train(tmp_path, resume=True)
    resumed = _environment(tmp_path)
    assert resumed["step"] == 12
    assert resumed["earlier"] == [environment]


@pytest.mark.parametrize("changed", [False, True])
def test_the_revision_of_the_working_directory(changed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    Path("file").touch()
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "file"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], check=True)
    revision = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    if changed:
        Path("file").write_text("changed")
    _train(Path("run"), epochs=1)
    assert _environment(Path("run"))["git"] == revision + ("-dirty" if changed else "")


def test_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    _train(tmp_path / "run", epochs=1)
    assert _environment(tmp_path / "run")["git"] is None


def test_a_state_holds_the_configuration_of_its_run(tmp_path: Path) -> None:
    _train(tmp_path, epochs=1, seed=4)
    assert make_config(load_state(state_files(tmp_path)[0])["config"]) == tiny_config(epochs=1, seed=4)


def test_an_edited_configuration_does_not_change_the_run(tmp_path: Path) -> None:
    _train(tmp_path, seed=4)
    path = tmp_path / "config.toml"
    path.write_text(path.read_text().replace("seed = 4", "seed = 5"))
    with RunDirectory(tmp_path, resume=True) as run:
        assert run.read_config()["seed"] == 4
        with pytest.warns(
            UserWarning, match=r"config\.toml was edited or is damaged: going on with the options in the"
        ):
            run.load_state()


def test_an_edited_configuration_without_a_state_is_an_error(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        run.begin(tiny_config(), get_model("speedrun"))
    assert run.read_config()["batch_size"] == 16
    (tmp_path / "config.toml").write_text("seed = 5\n")
    with pytest.raises(CheckpointError, match="no state is saved yet; delete"):
        run.read_config()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(directory_module.FileLock, "acquire", acquire)
    with pytest.raises(OutputError, match="no file locks"), RunDirectory(tmp_path / "run"):
        pass


def test_a_directory_is_held_by_one_process(tmp_path: Path) -> None:
    other = (
        "import sys; from mnist_fast.runs import RunDirectory\n"
        "with RunDirectory(sys.argv[1], resume=True): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", other, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="another process"), RunDirectory(tmp_path, resume=True):
            pass
        process.communicate("")
    with RunDirectory(tmp_path):
        pass


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    _train(tmp_path, epochs=1)
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(OutputError, match="--resume"):
        _train(tmp_path, epochs=1, seed=9)
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_directories_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in [("file", "it is a file"), ("file/run", "Not a directory"), ("x" * 300, "too long")]:
        with pytest.raises(OutputError, match=reason), RunDirectory(tmp_path / path):
            pass


def test_an_unused_directory_leaves_no_trace(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a").exists()


def test_default_outputs_are_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _format: "now")
    for expected in ("runs/cnn-now", "runs/cnn-now-2", "runs/cnn-now-3"):
        assert default_output("cnn") == Path(expected)
        Path(expected).mkdir(parents=True)
