"""``mnist-fast visualize`` and ``mnist-fast eval --plots``: the files they write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from drawn_digits import LOOKS, drawn
from PIL import Image

from mnist_fast.checkpoint import save_weights
from mnist_fast.cli import main
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.ops import library

FIGURES = ["input", *(f"{name}-{kind}" for name in ("conv1", "conv2") for kind in ("filters", "maps", "winners"))]


@pytest.fixture(autouse=True)
def _checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = NetworkSpec("lenet", 10, 0.13, 0.3)
    Path("run").mkdir()
    save_weights(Path("run/best.safetensors"), spec, spec.build().state_dict(), {"dataset": "digits"})
    record = {"event": "epoch", "step": 3, "test_loss": 0.5, "test_accuracy": 0.9}
    Path("run/metrics.jsonl").write_text(f"{json.dumps(record)}\n")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def assert_pictures(files: list[str], names: list[str], folder: str) -> None:
    assert files == [f"{folder}/{name}.png" for name in names]
    for file in files:
        image = Image.open(file)
        assert image.format == "PNG"
        assert 300 <= min(image.size) <= max(image.size) <= 2400
        assert np.asarray(image.convert("L")).std() > 1  # not blank


@pytest.mark.skipif(library.missing is not None or library.backend == "stock", reason="winners come from the kernels")
def test_visualize() -> None:
    result = run("visualize", "run", "--output", "new/pictures")
    assert result.exit_code == 0
    assert_pictures(result.stdout.splitlines(), [*FIGURES, "curves"], "new/pictures")


def test_visualize_a_picture_of_ones_own() -> None:
    for digit in (3, 7):
        drawn(digit, 0, LOOKS["clean"], np.random.default_rng(0)).save(f"{digit}.png")
        result = run("visualize", "run", "--image", f"{digit}.png", "--output", f"of {digit}", "--json")
        files = json.loads(result.stdout)["files"]
        assert f"of {digit}/input.png" in files
    for name, same in (("input", False), ("conv2-maps", False), ("conv1-filters", True)):
        assert (Path(f"of 3/{name}.png").read_bytes() == Path(f"of 7/{name}.png").read_bytes()) is same


def test_eval_plots() -> None:
    result = run("eval", "run", "--offline", "--plots", "plots", "--json")
    summary = json.loads(result.stdout.splitlines()[-1])
    assert_pictures(summary["plots"], ["confusion", "scores", "mistakes", "curves"], "plots")
    assert run("eval", "run", "--offline", "--plots", "plots").stdout.splitlines()[-4:] == summary["plots"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["visualize", "none", "--output", "x"], 1, "No such file"),
        (["visualize", "run"], 2, "--output"),
        (["visualize", "run", "--output", "run/metrics.jsonl"], 1, "cannot create the directory"),
        (["visualize", "run", "--output", "x", "--image", "none.png"], 3, "cannot read the picture none.png"),
        (["eval", "run", "--offline", "--plots", "run/metrics.jsonl"], 1, "cannot create the directory"),
    ],
)
def test_mistakes(arguments: list[str], code: int, words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, words in result.stderr) == (code, True)
