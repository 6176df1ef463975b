"""Fine-tuning: what is frozen stays bit by bit, the new head is trained, its checkpoint loads again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_config, tiny_dataset
from torch import nn

from mnist_fast import finetune
from mnist_fast.checkpoint import load_checkpoint, save_weights
from mnist_fast.config import Config, make_config
from mnist_fast.data import load_dataset
from mnist_fast.errors import InterruptedRunError, UsageError
from mnist_fast.finetune import freeze, frozen_features, split_frozen
from mnist_fast.models import get_model
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.progress import Reporter
from mnist_fast.recipes import FINETUNE_RECIPE
from mnist_fast.runs import RunDirectory
from mnist_fast.training import TrainResult, train


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A lenet run's directory, with an input normalisation of its own."""
    torch.manual_seed(11)
    spec = NetworkSpec("lenet", 10, 0.25, 0.75)
    (tmp_path / "start").mkdir()
    save_weights(tmp_path / "start" / "best.safetensors", spec, spec.build().state_dict(), {})
    return tmp_path / "start"


def _config(start: Path, **options: Any) -> Config:
    defaults = {"arch": "lenet", "checkpoint": str(start), "batch_size": 16, "epochs": 2, "device": "cpu"}
    return make_config({**defaults, **options}, recipe=FINETUNE_RECIPE)


def _changed(start: Path, result: TrainResult) -> set[str]:
    """Names of layers that are not bit by bit those of the start; new ones too."""
    old = load_checkpoint(start).weights
    new = result.model.state_dict()
    return {name.partition(".")[0] for name in new if name not in old or not torch.equal(new[name], old[name])}


@pytest.mark.parametrize("backend", ["fused", "stock"])
@pytest.mark.parametrize(
    ("what", "head", "changed"),
    [
        ("conv", "linear", {"fc4"}),
        ("all-but-head", "linear", {"fc4"}),
        ("conv", "keep", {"fc1", "fc2", "fc3"}),
        ("all-but-head", "keep", {"fc3"}),
        ("none", "keep", {"conv1", "conv2", "fc1", "fc2", "fc3"}),
        ("none", "linear", {"conv1", "conv2", "fc4"}),
        ("conv1, fc*", "keep", {"conv2"}),
    ],
)
def test_only_what_is_not_frozen_changes(what: str, head: str, changed: set[str], backend: str, start: Path) -> None:
    result = train(_config(start, freeze=what, head=head, backend=backend), tiny_dataset())
    assert _changed(start, result) == changed
    assert (result.spec.mean, result.spec.std) == (0.25, 0.75)  # the network's, not the new data's


@pytest.mark.parametrize("what", ["conv3", "conv1,cnv2", "", "features.*"])
def test_layers_that_are_not_there(what: str) -> None:
    with pytest.raises(UsageError, match=r"names no layer; the layers are conv1, conv2, fc1, fc2, fc3$"):
        freeze(get_model("lenet"), what)


def test_the_layers_before_the_head_have_their_own_rate(start: Path) -> None:
    """At a rate of almost nothing they stay nearly as they are."""
    result = train(_config(start, backbone_lr_factor=1e-6), tiny_dataset())
    old, new = load_checkpoint(start).weights, result.model.state_dict()
    change = {name: (new[name] - old[name]).abs().max().item() for name in new}
    assert all(0 < change[name] < 1e-5 for name in new if name.endswith("weight") and name != "fc3.weight")
    assert change["fc3.weight"] > 1e-4


def test_the_new_head_learns(start: Path) -> None:
    result = train(_config(start, freeze="conv", head="linear", epochs=60), tiny_dataset())
    assert result.evaluation.accuracy > 0.9
    assert result.start_accuracy is not None
    assert result.evaluation.accuracy > result.start_accuracy


def test_its_checkpoint_loads_and_can_be_tuned_again(start: Path, tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "tuned") as run:
        first = train(_config(start, freeze="conv", head="linear"), tiny_dataset(), run=run)
    checkpoint = load_checkpoint(tmp_path / "tuned" / "last.safetensors")
    assert checkpoint.spec.head == "linear"
    for name, value in first.model.state_dict().items():
        assert torch.equal(checkpoint.build().state_dict()[name], value)
    again = train(_config(tmp_path / "tuned" / "last.safetensors", freeze="all-but-head"), tiny_dataset())
    assert _changed(tmp_path / "tuned" / "last.safetensors", again) == {"fc4"}


@pytest.mark.parametrize(("head", "new"), [("keep", "fc3"), ("linear", "fc4")])
def test_other_classes_get_a_new_head(head: str, new: str, start: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = train(_config(start, head=head, freeze="all-but-head"), tiny_dataset(classes=8), reporter=Reporter())
    assert result.model(torch.zeros(1, 1, 28, 28)).shape == (1, 8)
    assert result.start_accuracy is None
    assert _changed(start, result) == {new}
    assert f"10 classes apart and tiny has 8: {new} starts anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        {"freeze": "conv", "head": "linear"},
        {"freeze": "conv", "precision": "bf16"},
        {"freeze": "conv", "augment": "shift"},  # images that move have no features to compute once
    ],
)
def test_features_computed_once_are_exact(
    start: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = train(_config(start, **options), tiny_dataset())
    monkeypatch.setattr(finetune, "_MAX_FEATURE_BYTES", 0)
    each_step = train(_config(start, **options), tiny_dataset())
    for name, value in once.model.state_dict().items():
        torch.testing.assert_close(value, each_step.model.state_dict()[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stop_at", [1, 5, 7])
def test_it_resumes_bit_by_bit_without_its_start(start: Path, tmp_path: Path, stop_at: int) -> None:
    config = _config(start, freeze="conv", head="linear")
    with RunDirectory(tmp_path / "whole") as run:
        whole = train(config, tiny_dataset(), run=run)
    asked = iter(range(1, 100))
    with RunDirectory(tmp_path / "parts") as run, pytest.raises(InterruptedRunError):
        train(config, tiny_dataset(), run=run, received_signal=lambda: 2 if next(asked) >= stop_at else None)
    (start / "best.safetensors").unlink()
    with RunDirectory(tmp_path / "parts", resume=True) as run:
        resumed = train(config, tiny_dataset(), run=run)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    assert whole.start_accuracy == resumed.start_accuracy


@pytest.mark.parametrize(
    ("arch", "what", "prefix"),
    [
        ("lenet", "conv", ["conv1", "conv2", "flatten"]),
        ("lenet", "all-but-head", ["conv1", "conv2", "flatten", "fc1", "relu1", "fc2", "relu2"]),
        ("cnn-dropout", "conv", ["conv1", "conv2"]),  # Dropout2d comes next
        ("cnn", "none", None),
    ],
)
def test_the_frozen_prefix_ends_before_what_trains_or_is_random(arch: str, what: str, prefix: list[str] | None) -> None:
    model = get_model(arch)
    freeze(model, what)
    parts = split_frozen(model)
    assert (parts and [name for name, _ in parts[0].named_children()]) == prefix
    if parts:
        images = torch.randn(2, 1, 28, 28)
        model.eval()
        assert torch.equal(parts[1](parts[0](images)), model(images))


def test_split_needs_a_sequential() -> None:
    assert split_frozen(nn.Linear(2, 2)) is None


def test_features_are_the_backbone_of_every_image() -> None:
    data, backbone = tiny_dataset(), nn.Flatten()
    features = frozen_features(backbone, data.train_images, mean=0.5, std=0.25, precision="fp32", batch_size=7)
    assert features is not None
    torch.testing.assert_close(features, ((data.train_images / 255 - 0.5) / 0.25).flatten(1))


def test_document_002_on_the_real_data(mnist_root: Path, tmp_path: Path) -> None:
    data = load_dataset("mnist", mnist_root, offline=True)
    with RunDirectory(tmp_path) as run:
        train(make_config({"arch": "lenet", "epochs": 1}), data, run=run)
    options = {"arch": "lenet", "checkpoint": str(tmp_path), "freeze": "conv", "head": "linear", "epochs": 1}
    result = train(make_config(options, recipe=FINETUNE_RECIPE), data)
    assert result.start_accuracy is not None
    assert result.start_accuracy >= 0.85
    assert result.evaluation.accuracy >= result.start_accuracy - 0.01
    assert _changed(tmp_path, result) == {"fc4"}


@pytest.mark.parametrize("arch", ["speedrun", pytest.param("cnn", marks=pytest.mark.long)])
def test_from_mnist_to_the_digits(arch: str, mnist_root: Path, tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        train(make_config({"arch": arch, "epochs": 1}), load_dataset("mnist", mnist_root, offline=True), run=run)
    options = {"arch": arch, "checkpoint": str(tmp_path), "freeze": "conv", "epochs": 10}
    result = train(make_config(options, recipe=FINETUNE_RECIPE), load_dataset("digits"))
    assert result.start_accuracy is not None
    assert result.start_accuracy < 0.9
    assert result.evaluation.accuracy >= 0.95
    assert _changed(tmp_path, result) == {"fc1", "fc2"}


def test_training_from_nothing_has_nothing_to_freeze() -> None:
    with pytest.raises(UsageError, match="fine-tuning"):
        tiny_config(freeze="conv")
