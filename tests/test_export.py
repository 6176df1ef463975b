"""Exported networks load without this package and give the same outputs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from mnist_fast.checkpoint import load_checkpoint, save_weights
from mnist_fast.cli import main
from mnist_fast.export import export
from mnist_fast.models import list_models
from mnist_fast.models.spec import NetworkSpec

# Runs in an interpreter of its own, in which nothing of this package can be imported.
WITHOUT_THE_PACKAGE = """
import importlib.abc, json, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "mnist_fast":
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import torch
format, path = sys.argv[1:]
images = torch.load("images.pt")
if format == "onnx":
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    outputs = torch.from_numpy(session.run(["logits"], {"input": images.numpy()})[0])
    metadata = session.get_modelmeta().custom_metadata_map["mnist_fast"]
elif format == "torch":
    files = {"mnist_fast": ""}
    outputs = torch.export.load(path, extra_files=files).module()(images)
    metadata = files["mnist_fast"]
else:
    from torch import nn
    net = nn.Sequential()  # document 002's, under its names
    for name, layer in dict(
        conv1=nn.Conv2d(1, 6, 5), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2), flatten=nn.Flatten(),
        fc1=nn.Linear(256, 120), relu3=nn.ReLU(), fc2=nn.Linear(120, 84), relu4=nn.ReLU(), fc3=nn.Linear(84, 10),
    ).items():
        net.add_module(name, layer)
    net.load_state_dict(torch.load(path, weights_only=True))
    outputs, metadata = net(images), None
print(json.dumps([outputs.tolist(), metadata]))
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(arch: str) -> Path:
    path, spec = Path(f"{arch}.safetensors"), NetworkSpec(arch, 10, 0.13, 0.3)
    save_weights(path, spec, spec.build().state_dict(), {"classes": list("abcdefghij")})
    return path


def need_onnx() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason='the extra: pip install "mnist_fast[onnx]"')


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["export", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("format", ["onnx", "torch", "state-dict"])
def test_loads_without_the_package(format: str) -> None:
    if format == "onnx":
        need_onnx()
    checkpoint = saved("lenet")
    assert run(str(checkpoint), "--format", format, "--output", "exported").exit_code == 0
    images = torch.randn(5, 1, 28, 28)
    torch.save(images, "images.pt")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE, format, "exported"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    outputs, metadata = json.loads(done.stdout.splitlines()[-1])
    with torch.no_grad():
        expected = load_checkpoint(checkpoint).build().eval()(images)
    assert torch.allclose(torch.tensor(outputs), expected, rtol=0, atol=1e-4)
    if metadata is not None:
        assert json.loads(metadata) == {"arch": "lenet", "mean": 0.13, "std": 0.3, "classes": list("abcdefghij")}


@pytest.mark.parametrize("format", ["torch", pytest.param("onnx", marks=pytest.mark.long)])
@pytest.mark.parametrize("arch", list_models())
def test_every_network(arch: str, format: str) -> None:
    if format == "onnx":
        need_onnx()
    result = export(saved(arch), format)
    assert result.path == Path(f"{arch}.{'pt2' if format == 'torch' else 'onnx'}")
    assert result.difference is not None
    assert result.difference < 1e-4


def test_json() -> None:
    result = run(str(saved("lenet")), "--format", "torch", "--json")
    summary = json.loads(result.stdout)
    assert Path(summary["file"]).is_file()
    assert (summary["format"], summary["arch"], summary["mean"], summary["std"]) == ("torch", "lenet", 0.13, 0.3)


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    result = run(str(saved("lenet")))
    assert (result.exit_code, 'pip install "mnist_fast[onnx]"' in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.safetensors"], 1, "No such file"),
        (["lenet.safetensors", "--format", "tflite"], 2, "tflite"),
        (["lenet.safetensors", "--format", "torch", "--output", "none/x.pt2"], 1, "cannot write none/x.pt2"),
    ],
)
def test_mistakes(arguments: list[str], code: int, words: str) -> None:
    saved("lenet")
    result = run(*arguments)
    assert (result.exit_code, words in result.stderr) == (code, True)
    assert "Traceback" not in result.output
