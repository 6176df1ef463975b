"""``mnist-fast finetune`` on the bundled digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from mnist_fast.checkpoint import load_checkpoint, save_weights
from mnist_fast.cli import main
from mnist_fast.models.spec import NetworkSpec

DATA = ["--dataset", "digits", "--offline", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = NetworkSpec("lenet", 10, 0.13, 0.3)
    save_weights(Path("start.safetensors"), spec, spec.build().state_dict(), {})


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_document_002() -> None:
    result = run(
        "finetune", "start.safetensors", "--freeze", "conv", "--head", "linear", *DATA, "--output", "ft", "--json"
    )
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (summary["command"], summary["arch"], summary["epochs"]) == ("finetune", "lenet", 1)
    assert 0 <= summary["start_accuracy"] <= 1
    assert "starting point: test accuracy" in result.stderr
    before, after = load_checkpoint("start.safetensors").weights, load_checkpoint("ft").weights
    assert set(after) == {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc4.weight", "fc4.bias"}
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("conv"))
    evaluated = run("eval", "ft", *DATA, "--json")
    assert json.loads(evaluated.stdout)["test_accuracy"] == summary["test_accuracy"]
    assert run("finetune", "start.safetensors", "--output", "ft", "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.safetensors"], 1, "No such file"),
        (["."], 1, "no checkpoint in"),
        (["broken.safetensors"], 1, "damaged"),
        (["start.safetensors", "--arch", "cnn"], 1, "of lenet, not of cnn"),
        (["plain.pt"], 2, "add --arch"),
        (["start.safetensors", "--freeze", "all"], 2, "'all' names no layer"),
        (["start.safetensors", "--head", "new"], 2, "'linear'"),
    ],
)
def test_mistakes(arguments: list[str], code: int, words: str) -> None:
    Path("broken.safetensors").write_bytes(Path("start.safetensors").read_bytes()[:-5])
    torch.save(load_checkpoint("start.safetensors").weights, "plain.pt")
    before = sorted(path.name for path in Path().iterdir())
    result = run("finetune", *arguments, *DATA, "--output", "ft")
    assert (result.exit_code, words in result.stderr) == (code, True)
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in Path().iterdir()) == before


def test_a_plain_state_dict_with_arch() -> None:
    torch.save(load_checkpoint("start.safetensors").weights, "plain.pt")
    assert run("finetune", "plain.pt", "--arch", "lenet", *DATA, "--output", "ft").exit_code == 0
    assert load_checkpoint("ft").spec == NetworkSpec("lenet", 10, 0.1307, 0.3081)


def test_its_configuration_is_not_one_for_train() -> None:
    assert run("finetune", "start.safetensors", *DATA, "--output", "ft").exit_code == 0
    result = run("train", "--config", "ft/config.toml")
    assert (result.exit_code, "use mnist-fast finetune" in result.stderr) == (2, True)
    resumed = run("train", "--output", "ft", "--resume")
    assert (resumed.exit_code, "use mnist-fast finetune" in resumed.stderr) == (2, True)
