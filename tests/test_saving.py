"""A run that was saved goes on where it stood, to the same bits; what must not be saved is not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import STATE_6, equal, metrics_of, tiny_config, tiny_dataset, tiny_run, weights_of

from mnist_fast import updating
from mnist_fast.checkpoint import CheckpointError
from mnist_fast.data import load_dataset
from mnist_fast.errors import InterruptedRunError
from mnist_fast.losses import NonFiniteLossError
from mnist_fast.progress import Reporter
from mnist_fast.runs import RunDirectory
from mnist_fast.training import train


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"arch": "cnn-dropout", "optimizer": "adam", "lr": 1e-3, "log_every": 4},
        {"arch": "lenet", "optimizer": "sgd", "schedule": "one-cycle", "images_per_epoch": 50, "batch_size": 9},
        {"optimizer": "adamw", "schedule": "cosine", "backend": "stock", "precision": "bf16"},
        {"augment": "affine"},
        {"batch_size": 5, "accumulate": 3, "warmup_steps": 4, "clip_grad_norm": 1.0, "weight_decay": 0.01, "ema": 0.9},
    ],
)
def test_resumed_runs_are_bit_identical(options: dict[str, Any], tmp_path: Path) -> None:
    config = tiny_config(**options)
    whole = tiny_run(config, tmp_path / "whole")
    for stop_at in (3, 6, 1):  # within an epoch, at its end or near it, after one step
        with pytest.raises(InterruptedRunError, match="--resume") as caught:
            tiny_run(config, tmp_path / "parts", resume=True, stop_at=stop_at)
        assert caught.value.exit_code == 143
    resumed = tiny_run(config, tmp_path / "parts", resume=True)
    assert equal(weights_of(whole), weights_of(resumed))
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "parts")
    assert whole.images == resumed.images
    again = tiny_run(config, tmp_path / "parts", resume=True)  # nothing left to do
    assert (again.evaluation.accuracy, again.images) == (whole.evaluation.accuracy, whole.images)


def test_saving_within_epochs(tmp_path: Path) -> None:
    """A crash loses what came after the last save, and the saves themselves change nothing."""
    whole = tiny_run(tiny_config(), tmp_path / "whole")
    steps = iter(range(100))

    def crash() -> None:
        if next(steps) == 5:
            raise ZeroDivisionError

    config = tiny_config(save_every=2, keep=3)
    with RunDirectory(tmp_path / "parts") as run, pytest.raises(ZeroDivisionError):
        train(config, tiny_dataset(), run=run, received_signal=crash)
    states = sorted(path.name for path in (tmp_path / "parts").glob("state-*"))
    assert states == ["state-00000002.pt", "state-00000004.pt", STATE_6]
    (tmp_path / "parts" / STATE_6).unlink()  # as if it had crashed before
    resumed = tiny_run(config, tmp_path / "parts", resume=True)
    assert equal(weights_of(whole), weights_of(resumed))
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "parts")


def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients can overflow while the loss is still finite; then the step after would tell."""
    monkeypatch.setattr(
        updating, "step", lambda optimizers: optimizers[0].param_groups[0]["params"][0].data.fill_(math.inf)
    )
    with pytest.raises(NonFiniteLossError, match="weights after step 1 are not finite"):
        tiny_run(tiny_config(save_every=1), tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_killed_while_it_wrote_metrics(tmp_path: Path) -> None:
    """Metrics run ahead of the state after a kill; the resumed run writes each record once."""
    config = tiny_config()
    tiny_run(config, tmp_path / "whole")
    with pytest.raises(InterruptedRunError):
        tiny_run(config, tmp_path / "parts", stop_at=2)
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as file:
        file.write('{"event": "loss", "epoch": 1, "batch": 3, "step": 3, "loss": 0.0, "lr": 0}\n{"event": "lo')
    (tmp_path / "parts" / ".last.safetensors.99.tmp").touch()
    tiny_run(config, tmp_path / "parts", resume=True)
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "parts")
    assert not list((tmp_path / "parts").glob(".*.tmp"))


def test_more_epochs_for_a_finished_run(tmp_path: Path) -> None:
    whole = tiny_run(tiny_config(schedule="constant", epochs=3), tmp_path / "whole")
    tiny_run(tiny_config(schedule="constant", epochs=2), tmp_path / "parts")
    longer = tiny_run(tiny_config(schedule="constant", epochs=3), tmp_path / "parts", resume=True)
    assert equal(weights_of(whole), weights_of(longer))
    with pytest.raises(CheckpointError, match="18 steps already, 6 are asked for"):
        tiny_run(tiny_config(schedule="constant", epochs=1), tmp_path / "parts", resume=True)


def test_resume_says_what_is_not_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InterruptedRunError):
        tiny_run(tiny_config(), tmp_path, stop_at=2)
    torch.set_num_threads(1)
    with RunDirectory(tmp_path, resume=True) as run:
        train(tiny_config(), tiny_dataset(), run=run, reporter=Reporter())
    assert "threads 2 there, 1 now" in capsys.readouterr().err


def test_resume_on_other_data(tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        tiny_run(tiny_config(), tmp_path, stop_at=2)
    with RunDirectory(tmp_path, resume=True) as run, pytest.raises(CheckpointError, match=r"trained on tiny.* digits"):
        train(tiny_config(), load_dataset("digits", offline=True), run=run)
