"""The examples run; each document's script learns with the fused block what it learns without the marked lines."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from data_files import idx_bytes, write_files
from documents import ROOT
from torch import Tensor, nn

import mnist_fast
from mnist_fast.data.digits import load_bundled_digits

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("document_*.py"))
OURS = "  # mnist_fast"  # ends the lines that bring the fused block in
THEIRS = "# stock: "  # begins the line that one of them replaces


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(plt, "show", lambda: None)


@pytest.fixture(scope="session")
def digits_as_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A torchvision root whose MNIST is scikit-learn's digits."""
    root, digits = tmp_path_factory.mktemp("digits"), load_bundled_digits()
    values = (digits.train_images, digits.train_labels, digits.test_images, digits.test_labels)
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    write_files(
        root,
        "mnist",
        {f"{name}-ubyte": idx_bytes(value.numpy().astype(np.uint8)) for name, value in zip(names, values, strict=True)},
    )
    return root


def stock_form(source: str) -> str:
    """A script without our lines, and with its author's in their place."""
    lines = [line.removeprefix(THEIRS) for line in source.splitlines() if not line.endswith(OURS)]
    return "\n".join(lines) + "\n"


def run(source: str, name: str, *arguments: str) -> dict[str, Any]:
    """What a script leaves behind: its global names."""
    names: dict[str, Any] = {"__name__": "__main__", "__doc__": ""}
    before, sys.argv = sys.argv, [name, *arguments]
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="dropout2d: Received a 2-D input", category=UserWarning)
            exec(compile(source, name, "exec"), names)
    finally:
        sys.argv = before
        plt.close("all")
    return names


def blocks(names: dict[str, Any]) -> int:
    networks = [value for value in names.values() if isinstance(value, nn.Module)]
    return sum(isinstance(child, mnist_fast.ConvReLUMaxPool2d) for net in networks for child in net.modules())


def learned(names: dict[str, Any]) -> dict[str, Tensor]:
    """The network's weights at the end, and the gradients of the last step."""
    (net, *_) = (value for value in names.values() if isinstance(value, nn.Module) and list(value.parameters()))
    gradients = {f"{name}.grad": p.grad for name, p in net.named_parameters() if p.grad is not None}
    return {**net.state_dict(), **gradients}


def assert_same_as_stock(script: Path, *arguments: str) -> None:
    source = script.read_text(encoding="utf-8")
    torch.manual_seed(0)
    fused = run(source, script.name, *arguments)
    torch.manual_seed(0)
    stock = run(stock_form(source), script.name, *arguments)
    assert blocks(fused) > 0
    assert blocks(stock) == 0
    assert learned(fused).keys() == learned(stock).keys()
    for name, value in learned(fused).items():
        expected = learned(stock)[name]
        assert (value - expected).norm() <= 0.01 * expected.norm(), name
    if "output_image" in stock:
        torch.testing.assert_close(fused["output_image"], stock["output_image"])
    assert fused.get("correct") == stock.get("correct")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_at_most_three_lines_are_ours(script: Path) -> None:
    source = script.read_text(encoding="utf-8")
    assert 1 <= sum(line.endswith(OURS) for line in source.splitlines()) <= 3
    assert "mnist_fast" not in stock_form(source).partition('"""\n\n')[2]


def arguments_of(script: Path, data_dir: Path, images: int) -> list[str]:
    return [] if "003" in script.name else ["--data-dir", str(data_dir), "--epochs", "1", "--images", str(images)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_same_as_stock(script: Path, digits_as_mnist: Path) -> None:
    assert_same_as_stock(script, *arguments_of(script, digits_as_mnist, 96))


@pytest.mark.long
@pytest.mark.parametrize(("name", "accuracy"), [("000", 0.97), ("001", 0.97), ("002", 0.8)])
def test_one_epoch_of_mnist(name: str, accuracy: float, mnist_root: Path) -> None:
    (script,) = (script for script in SCRIPTS if name in script.name)
    names = run(script.read_text(encoding="utf-8"), script.name, "--data-dir", str(mnist_root), "--epochs", "1")
    assert names["total"] == 10_000
    assert names["correct"] / names["total"] >= accuracy


SIZES = "IMAGES, EPOCHS = 1400, 5"


def test_walkthrough() -> None:
    source = (EXAMPLES / "your_own_cnn.py").read_text(encoding="utf-8")
    assert source.count(SIZES) == 1
    run(source.replace(SIZES, "IMAGES, EPOCHS = 32, 1"), "your_own_cnn.py")
    assert {path.name for path in Path("your_own_cnn").iterdir()} == {
        "pictures.png",
        "filters.png",
        "weights.pt",
        "network.pt2",
    }


@pytest.mark.long
def test_walkthrough_as_it_stands() -> None:
    names = run((EXAMPLES / "your_own_cnn.py").read_text(encoding="utf-8"), "your_own_cnn.py")
    assert names["report"]["accuracy"] >= 0.85
