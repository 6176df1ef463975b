"""``mnist-fast train`` on the bundled digits: output, exit codes, signals."""

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
from click.testing import CliRunner, Result

from mnist_fast.cli import main
from mnist_fast.config import make_config, read_toml

TRAIN = ["train", "--arch", "speedrun", "--dataset", "digits", "--offline", "--device", "cpu"]
FAST = ["train", "--recipe", "fast", "--dataset", "digits", "--offline", "--device", "cpu"]
KEYS = (
    "command arch dataset device backend precision seed epochs test_accuracy test_loss train_seconds "
    "images_per_second checkpoint"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNIST_FAST_DATA", str(tmp_path / "no-data"))


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def last_json(result: Result) -> dict[str, Any]:
    return json.loads(result.stdout.splitlines()[-1])


def test_json_is_the_last_line_and_progress_is_not_on_stdout() -> None:
    result = run(*TRAIN, "--epochs", "3", "--output", "run", "--json")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    summary = last_json(result)
    assert set(KEYS.split()) <= set(summary)
    assert (summary["command"], summary["dataset"], summary["precision"]) == ("train", "digits", "fp32")
    assert (summary["device"], summary["backend"], summary["epochs"], summary["seed"]) == ("cpu", "fused", 3, 0)
    assert summary["test_accuracy"] > 0.8
    assert Path(summary["checkpoint"]).is_file()
    assert "bundled handwritten digits" in result.stderr
    assert "epoch 3: test accuracy" in result.stderr
    assert read_toml("run/config.toml")["arch"] == "speedrun"


def test_summary_for_people() -> None:
    result = run(*TRAIN, "--output", "run", "--quiet")
    assert result.stderr == ""
    for words in ("test accuracy", "precision", "recall", "without loading", "checkpoint: run/last.safetensors"):
        assert words in result.stdout


def test_validation_images_are_held_out() -> None:
    result = run(*TRAIN, "--val-fraction", "0.1", "--dry-run")
    assert "1,295 training, 143 validation and 359 test images" in result.stdout
    assert "143 of the training images are held out for validation" in result.stderr
    assert run(*TRAIN, "--val-fraction", "1", "--dry-run").exit_code == 2


def test_auto_falls_back_to_the_digits_and_says_so() -> None:
    result = run("train", "--arch", "speedrun", "--offline", "--json")
    assert last_json(result)["dataset"] == "digits"
    assert "mnist" in result.stderr.lower()
    assert last_json(result)["checkpoint"].startswith("runs/speedrun-")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--arch", "vgg"], 2, "'cnn-padded'"),
        (["--dataset", "cifar"], 2, "'fashion-mnist'"),
        (["--optimizer", "lion"], 2, "'muon'"),
        (["--device", "tpu"], 2, "cuda:INDEX"),
        (["--device", "cuda:99"], 2, "--device cuda:99"),
        (["--precision", "fp16", "--device", "cpu"], 2, "needs a GPU"),
        (["--epochs", "0"], 2, "at least 1"),
        (["--epochs", "many"], 2, "not a valid integer"),
        (["--lr", "nan"], 2, "above 0"),
        (["--resume"], 2, "--output"),
        (["--config", "none.toml"], 2, "none.toml"),
        (["--dataset", "mnist"], 3, "train-images-idx3-ubyte"),
        (["--output", "file"], 1, "it is a file"),
        (["--output", "file/run"], 1, "Not a directory"),
    ],
)
def test_mistakes(arguments: list[str], code: int, words: str) -> None:
    Path("file").touch()
    result = run(*TRAIN, *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_target_missed_is_4_after_saving() -> None:
    result = run(*TRAIN, "--output", "run", "--target-acc", "1.0", "--json")
    assert result.exit_code == 4
    assert Path(last_json(result)["checkpoint"]).is_file()
    assert "below the target 1" in result.stderr
    assert run(*TRAIN, "--output", "low", "--target-acc", "0.1").exit_code == 0


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    result = run(*TRAIN, "--optimizer", "sgd", "--lr", "1e30", "--output", "run", "--quiet")
    assert result.exit_code == 1
    assert "the loss became nan in step 2: training stopped before the optimizer applied it" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(Path("run").glob("*.safetensors"))


def test_a_run_is_refused_continued_or_left() -> None:
    assert run(*TRAIN, "--output", "run").exit_code == 0
    before = Path("run/last.safetensors").read_bytes()
    refused = run(*TRAIN, "--output", "run")
    assert (refused.exit_code, "--resume" in refused.stderr) == (1, True)
    other = run("train", "--output", "run", "--resume", "--arch", "lenet")
    assert (other.exit_code, "arch (speedrun there, lenet now)" in other.stderr) == (1, True)
    finished = run("train", "--output", "run", "--resume", "--json")  # the run's own configuration
    assert last_json(finished)["arch"] == "speedrun"
    assert Path("run/last.safetensors").read_bytes() == before
    assert run(*TRAIN, "--output", "fresh", "--resume").exit_code == 0
    for state in Path("run").glob("state-*.pt"):
        state.write_bytes(b"damaged")
    damaged = run("train", "--output", "run", "--resume")
    assert (damaged.exit_code, "is damaged" in damaged.stderr) == (1, True)
    assert Path("run/last.safetensors").read_bytes() == before


def test_config_file_and_command_line() -> None:
    Path("c.toml").write_text('arch = "lenet"\nlr = 0.5\nepochs = 7\n')
    result = run("train", "--config", "c.toml", "--lr", "0.25", "--print-config")
    Path("printed.toml").write_text(result.stdout)
    config = make_config(read_toml("printed.toml"))
    assert (config.arch, config.lr, config.epochs, config.momentum) == ("lenet", 0.25, 7, 0.9)
    Path("bad.toml").write_text("leraning_rate = 1\n")
    bad = run("train", "--config", "bad.toml")
    assert (bad.exit_code, "leraning_rate" in bad.stderr) == (2, True)


def test_recipe() -> None:
    """It sets all, options win over it, the run remembers it, and what contradicts it is refused."""
    summary = last_json(run(*FAST, "--batch-size", "64", "--output", "run", "--json"))
    assert (summary["recipe"], summary["arch"]) == ("fast", "speedrun")
    config = read_toml("run/config.toml")
    assert (config["recipe"], config["batch_size"], config["optimizer"]) == ("fast", 64, "muon")
    again = run("train", "--config", "run/config.toml", "--recipe", "fast", "--print-config")
    Path("printed.toml").write_text(again.stdout)
    assert read_toml("printed.toml") == config
    Path("other.toml").write_text('recipe = "balanced"\n')
    for arguments, words in {
        ("--arch", "cnn"): "the recipe fast trains the network speedrun, not cnn",
        ("--config", "other.toml"): "other.toml follows the recipe balanced, not fast",
        ("--recipe", "slow"): "'fast'",
    }.items():
        refused = run(*FAST, *arguments)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert words in refused.stderr
    resumed = run(*TRAIN, "--resume", "--output", "run", "--recipe", "fast", "--batch-size", "64")
    assert resumed.exit_code == 0
    run(*TRAIN, "--output", "no-recipe")
    other = run(*FAST, "--resume", "--output", "no-recipe")
    assert (other.exit_code, "recipe (None there, fast now)" in other.stderr) == (1, True)


def test_dry_run_trains_nothing_and_leaves_no_trace(tmp_path: Path) -> None:
    result = run(*TRAIN, "--dry-run", "--output", "a/b")
    assert result.exit_code == 0
    assert "40,826 parameters" in result.stdout
    assert not list(tmp_path.iterdir())
    Path("file").touch()
    assert run(*TRAIN, "--dry-run", "--output", "file").exit_code == 1


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_resume_ends_bit_identical(number: int, code: int, tmp_path: Path) -> None:
    """Many short epochs, so that the signal comes long before the end."""
    options = [*TRAIN, "--images-per-epoch", "256", "--schedule", "constant", "--log-every", "1"]
    command = [sys.executable, "-m", "mnist_fast", *options, "--epochs", "100000", "--output", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}  # as many as this process has
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        _wait_for(Path("run/metrics.jsonl"), process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert "--resume" in errors
    assert "Traceback" not in errors
    steps = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    epochs = max(record["epoch"] for record in steps) + 1

    # To the end of the epoch after the one that was interrupted: with a constant rate the length may change.
    resumed = last_json(run("train", "--resume", "--epochs", str(epochs), "--output", "run", "--json"))
    whole = last_json(run(*options, "--epochs", str(epochs), "--output", "whole", "--json"))
    assert resumed["test_loss"] == whole["test_loss"]
    losses = [
        [json.loads(line).get("loss") for line in Path(name, "metrics.jsonl").read_text().splitlines()]
        for name in ("run", "whole")
    ]
    assert losses[0] == losses[1]


def test_a_second_signal_leaves_at_once() -> None:
    """The handler itself, in a process that would otherwise never look at the first signal."""
    code = (
        "import os, signal; from mnist_fast.signals import GracefulExit\n"
        "with GracefulExit() as exit:\n"
        "    os.kill(os.getpid(), signal.SIGTERM); assert exit.received == 15\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_outside_training(number: int, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_fast.sessions.load_dataset", lambda *_, **__: os.kill(os.getpid(), number))
    result = run(*TRAIN, "--output", "run")
    assert result.exit_code == code
    assert not Path("run").exists()


def test_two_runs_in_one_directory() -> None:
    from mnist_fast.runs import RunDirectory

    with RunDirectory("run"):
        second = run(*TRAIN, "--output", "run")
    assert (second.exit_code, "another process" in second.stderr) == (1, True)


def test_the_real_data(mnist_root: Path) -> None:
    result = run("train", "--arch", "speedrun", "--dataset", "mnist", "--data-dir", str(mnist_root), "--json")
    assert last_json(result)["test_accuracy"] >= 0.988
