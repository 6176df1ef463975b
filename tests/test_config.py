"""The configuration: layers of options, ranges, TOML there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mnist_fast.config import Config, changed_on_resume, make_config, read_toml
from mnist_fast.errors import UsageError
from mnist_fast.recipes import RECIPES


@pytest.mark.parametrize("arch", RECIPES)
def test_the_recipe_is_the_default(arch: str) -> None:
    config = make_config({"arch": arch})
    for name, value in vars(RECIPES[arch]).items():
        assert getattr(config, name) == value


def test_options_win_over_the_recipe_and_none_is_no_option() -> None:
    config = make_config({"arch": "lenet", "lr": 0.5, "epochs": None})
    assert (config.lr, config.epochs) == (0.5, 10)
    assert make_config({}).arch == "cnn"


@pytest.mark.parametrize("arch", RECIPES)
def test_toml_round_trip(arch: str, tmp_path: Path) -> None:
    config = make_config({"arch": arch, "seed": 3, "target_acc": 0.99})
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert make_config(read_toml(tmp_path / "c.toml")) == config


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arch": "vgg"}, "cnn-padded"),
        ({"dataset": "cifar"}, "fashion-mnist"),
        ({"augment": "flip"}, "none, shift, affine"),
        ({"optimizer": "lion"}, "muon"),
        ({"schedule": "zigzag"}, "one-cycle"),
        ({"backend": "triton"}, "fused, stock"),
        ({"precision": "int8"}, "fp32, bf16, fp16"),
        ({"device": "tpu"}, "cuda:INDEX"),
        ({"device": "cuda:x"}, "cuda:INDEX"),
        ({"epochs": 0}, "epochs 0: must be an integer of at least 1"),
        ({"epochs": 1.5}, "epochs 1.5"),
        ({"epochs": True}, "epochs True"),
        ({"batch_size": -4}, "batch-size -4"),
        ({"lr": 0.0}, "above 0"),
        ({"lr": float("nan")}, "lr nan"),
        ({"lr": "fast"}, "lr 'fast'"),
        ({"lr": True}, "lr True"),
        ({"momentum": 1.0}, "below 1"),
        ({"betas": [0.9]}, "betas"),
        ({"betas": 0.9}, "betas"),
        ({"weight_decay": -1.0}, "at least 0"),
        ({"label_smoothing": 1.0}, "below 1"),
        ({"val_fraction": 1.0}, "val-fraction 1.0: must be a number from 0 to below 1"),
        ({"val_fraction": -0.1}, "val-fraction -0.1"),
        ({"target_acc": 99.0}, "0.99"),
        ({"seed": -1}, "seed -1"),
        ({"warmup_steps": -1}, "warmup-steps -1"),
        ({"accumulate": 0}, "accumulate 0"),
        ({"clip_grad_norm": 0.0}, "clip-grad-norm 0.0"),
        ({"ema": 1.0}, "such as 0.999"),
        ({"patience": 0}, "patience 0"),
        ({"backbone_lr_factor": 0.0}, "backbone-lr-factor 0.0"),
        ({"deterministic": 1}, "true or false"),
        ({"log_every": 0}, "log-every 0"),
        ({"compile": "yes"}, "true or false"),
        ({"data_dir": 3}, "data-dir 3"),
        ({"learning_rate": 0.1}, "unknown option 'learning_rate'"),
        ({"freeze": "conv"}, "fine-tuning"),
    ],
)
def test_wrong_values_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_config(options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_integers_do_for_fractions() -> None:
    assert make_config({"lr": 1}).lr == 1.0


def test_toml_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("lr = ")
    with pytest.raises(UsageError, match="no valid TOML"):
        read_toml(tmp_path / "bad.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no valid TOML"):
        read_toml(tmp_path / "binary.toml")


def test_hyphens_in_toml(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("batch-size = 7\n")
    assert make_config(read_toml(tmp_path / "c.toml")).batch_size == 7


def test_what_may_change_on_resume() -> None:
    def changes(arch: str, **options: Any) -> list[str]:
        old: Config = make_config({"arch": arch})
        return changed_on_resume(old, make_config({"arch": arch, **options}))

    assert changes("lenet", device="cpu", log_every=7, target_acc=0.5, data_dir="x", offline=True) == []
    assert changes("lenet", epochs=20) == []
    assert changes("lenet", epochs=5) == []
    assert changes("anchor", epochs=2) == ["epochs (1 there, 2 now)"]  # one-cycle depends on the whole length
    assert changes("lenet", lr=0.5, seed=1) == ["lr (0.001 there, 0.5 now)", "seed (0 there, 1 now)"]
