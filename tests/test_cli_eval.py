"""``mnist-fast eval`` on the bundled digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from mnist_fast.checkpoint import load_checkpoint, save_weights
from mnist_fast.cli import main
from mnist_fast.data import load_dataset
from mnist_fast.models.spec import NetworkSpec

DATA = ["--dataset", "digits", "--offline", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = NetworkSpec("lenet", 10, 0.13, 0.3)
    details = {"dataset": "digits", "epochs": 4, "seed": 2, "train_seconds": 1.5}
    save_weights(Path("run.safetensors"), spec, spec.build().state_dict(), details)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_json() -> None:
    summary = json.loads(run("eval", "run.safetensors", "--offline", "--json").stdout.splitlines()[-1])
    assert (summary["command"], summary["arch"], summary["dataset"]) == ("eval", "lenet", "digits")
    assert (summary["epochs"], summary["seed"], summary["train_seconds"]) == (4, 2, 1.5)
    matrix = torch.tensor(summary["confusion_matrix"])
    labels = load_dataset("digits").test_labels
    assert matrix.sum(1).tolist() == torch.bincount(labels, minlength=10).tolist()
    assert summary["test_accuracy"] == matrix.trace().item() / len(labels)
    for name in ("precision", "recall", "f1"):
        values = summary["per_class"][name]
        assert len(values) == 10
        assert summary["macro"][name] == pytest.approx(sum(values) / 10)
    recall = [matrix[i, i].item() / matrix[i].sum().item() for i in range(10)]
    assert summary["per_class"]["recall"] == pytest.approx(recall)


def test_backends_agree() -> None:
    losses = [
        json.loads(run("eval", "run.safetensors", *DATA, "--backend", backend, "--json").stdout)["test_loss"]
        for backend in ("fused", "stock")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_views_are_averaged_as_in_training() -> None:
    trained = run("train", "--arch", "speedrun", *DATA, "--epochs=1", "--average-views", "--output=averaged", "--json")
    told = json.loads(trained.stdout)["test_loss"]
    losses = {
        option: json.loads(run("eval", "averaged", *DATA, *option, "--json").stdout)["test_loss"]
        for option in ((), ("--average-views",), ("--single-view",))
    }
    assert losses[()] == losses["--average-views",] == pytest.approx(told, rel=1e-6)
    assert losses["--single-view",] != pytest.approx(told, rel=1e-5)


def test_table() -> None:
    result = run("eval", "run.safetensors", *DATA)
    assert result.exit_code == 0
    for words in ("class", "precision", "recall", "F1", "mean", "359", "test accuracy"):
        assert words in result.stdout
    assert "bundled handwritten digits" in result.stderr
    assert run("eval", "run.safetensors", *DATA, "--quiet").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none"], 1, "No such file"),
        (["run.safetensors", "--arch", "cnn"], 1, "of lenet, not of cnn"),
        (["letters.safetensors"], 2, "26 classes"),
        (["plain.pth"], 2, "add --arch"),
        (["run.safetensors", "--device", "cuda:99"], 2, "--device cuda:99"),
        (["run.safetensors", "--precision", "fp16"], 2, "needs a GPU"),
        (["run.safetensors", "--dataset", "mnist", "--data-dir", "none"], 3, "train-images-idx3-ubyte"),
    ],
)
def test_mistakes(arguments: list[str], code: int, words: str) -> None:
    spec = NetworkSpec("lenet", 26, 0.13, 0.3)
    save_weights(Path("letters.safetensors"), spec, spec.build().state_dict(), {})
    torch.save(load_checkpoint("run.safetensors").weights, "plain.pth")
    result = run("eval", *DATA, *arguments)
    assert (result.exit_code, words in result.stderr) == (code, True)
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_plain_state_dict() -> None:
    torch.save({"state_dict": load_checkpoint("run.safetensors").weights}, "plain.pth")
    result = run("eval", "plain.pth", "--arch", "lenet", *DATA, "--json")
    summary = json.loads(result.stdout)
    assert (summary["epochs"], summary["train_seconds"]) == (None, None)
