"""The training loop: it learns, it repeats itself bit by bit, and it stops before harm is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny import STATE_6, equal, metrics_of, tiny_config, tiny_dataset, tiny_run, weights_of

from mnist_fast import selection, training
from mnist_fast.checkpoint import load_checkpoint
from mnist_fast.config import make_config
from mnist_fast.data import batches, load_dataset
from mnist_fast.devices import resolve_device
from mnist_fast.errors import UsageError
from mnist_fast.evaluation import Evaluation
from mnist_fast.losses import LossWindow, NonFiniteLossError
from mnist_fast.models import get_model
from mnist_fast.runs import RunDirectory
from mnist_fast.training import train


def test_the_loop_is_the_one_of_the_documents() -> None:
    """Step by step the same numbers as the plain loop over the same batches."""
    data = tiny_dataset()
    config = tiny_config(arch="lenet", epochs=2, optimizer="sgd", lr=0.05, momentum=0.9, backend="stock", seed=5)
    torch.manual_seed(5)
    net = get_model("lenet", fused=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(2):
        for inputs, labels in batches(
            data.train_images, data.train_labels, 16, mean=data.mean, std=data.std, seed=5, epoch=epoch
        ):
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), labels).backward()
            optimizer.step()
    for name, value in weights_of(train(config, data)).items():
        torch.testing.assert_close(value, net.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_it_learns_and_repeats_itself_bit_by_bit() -> None:
    config, data = tiny_config(epochs=12), tiny_dataset()
    before = torch.get_rng_state()
    first, second = train(config, data), train(config, data)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's random numbers are untouched
    assert first.evaluation.accuracy > 0.9
    assert equal(weights_of(first), weights_of(second))
    assert not equal(weights_of(first), weights_of(train(tiny_config(epochs=12, seed=1), data)))


def test_fused_and_stock_losses_agree(tmp_path: Path) -> None:
    losses = {}
    for backend in ("fused", "stock"):
        tiny_run(tiny_config(arch="lenet", epochs=8, backend=backend), tmp_path / backend)
        losses[backend] = [record["loss"] for record in metrics_of(tmp_path / backend) if record["event"] == "loss"]
    assert len(losses["fused"]) == 48
    assert losses["fused"] == pytest.approx(losses["stock"], rel=1e-4)


def test_the_run_directory(tmp_path: Path) -> None:
    result = tiny_run(tiny_config(log_every=4), tmp_path)
    records = metrics_of(tmp_path)
    assert [(r["event"], r["epoch"], r["step"]) for r in records] == [
        ("loss", 1, 4),
        ("loss", 1, 6),
        ("epoch", 1, 6),
        ("loss", 2, 10),
        ("loss", 2, 12),
        ("epoch", 2, 12),
    ]
    assert records[-1]["train_loss"] == pytest.approx((4 * records[3]["loss"] + 2 * records[4]["loss"]) / 6)
    assert [record["test_accuracy"] for record in result.history] == [r["test_accuracy"] for r in records[2::3]]
    last = load_checkpoint(tmp_path / "last.safetensors")
    assert equal(last.weights, weights_of(result))
    assert last.details["test_accuracy"] == result.evaluation.accuracy
    assert load_checkpoint(tmp_path).details["test_accuracy"] == max(r["test_accuracy"] for r in result.history)
    assert not list(tmp_path.glob(".*.tmp"))


def test_augmentation_changes_what_is_learned() -> None:
    plain, moved, again = (train(tiny_config(augment=kind), tiny_dataset()) for kind in ("none", "shift", "shift"))
    assert not equal(weights_of(plain), weights_of(moved))
    assert equal(weights_of(moved), weights_of(again))


def test_nan_stops_before_the_step_is_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_run(tiny_config(epochs=1, schedule="constant"), tmp_path)  # leaves checkpoints behind
    files = {name: (tmp_path / name).read_bytes() for name in ("last.safetensors", "best.safetensors", STATE_6)}
    trainers: list[training.Trainer] = []
    before: dict[str, torch.Tensor] = {}
    original = training.Trainer._train_step

    def poisoned(self: training.Trainer, inputs: torch.Tensor, targets: torch.Tensor, count: int) -> None:
        trainers.append(self)
        before.update({name: value.clone() for name, value in self.model.state_dict().items()})
        original(self, inputs * float("nan") if len(trainers) == 3 else inputs, targets, count)

    monkeypatch.setattr(training.Trainer, "_train_step", poisoned)
    with RunDirectory(tmp_path, resume=True) as run, pytest.raises(NonFiniteLossError, match="step 9") as caught:
        train(tiny_config(epochs=2, schedule="constant"), tiny_dataset(), run=run)
    assert caught.value.exit_code == 1
    assert equal(before, trainers[-1].model.state_dict())
    assert files == {name: (tmp_path / name).read_bytes() for name in files}


def test_a_test_loss_that_is_no_number_is_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    monkeypatch.setattr(selection, "evaluate", lambda *_, **__: Evaluation(1.0, float("nan"), nothing, 0.0))
    with pytest.raises(NonFiniteLossError, match="nothing was saved"):
        tiny_run(tiny_config(), tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_loss_window_that_looks_at_once() -> None:
    window = LossWindow(torch.device("cpu"), [], deferred=False)
    window.guard(torch.tensor(1.5))
    assert window.values() == [1.5]
    window.step = 2
    for value in (float("nan"), float("inf")):
        with pytest.raises(NonFiniteLossError, match=f"became {value} in step 2"):
            window.guard(torch.tensor(value))


def _defer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read losses in blocks, as on a GPU; torch's fused optimizers honour ``found_inf`` on the CPU too."""
    monkeypatch.setattr(
        training, "LossWindow", lambda device, optimizers, **_: LossWindow(device, optimizers, deferred=True)
    )


@pytest.mark.parametrize("optimizer", ["muon", "adam", "adamw", "sgd"])
def test_losses_read_in_blocks_change_nothing(optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(optimizer=optimizer, lr=1e-3, log_every=4)
    at_once = tiny_run(config, tmp_path / "at-once")
    _defer(monkeypatch)
    in_blocks = tiny_run(config, tmp_path / "in-blocks")
    assert equal(weights_of(at_once), weights_of(in_blocks))
    assert metrics_of(tmp_path / "at-once") == metrics_of(tmp_path / "in-blocks")


@pytest.mark.parametrize("optimizer", ["muon", "adam", "adamw", "sgd"])
def test_nan_in_a_block_of_losses_is_not_applied(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers: list[training.Trainer] = []
    before: dict[str, torch.Tensor] = {}
    original = training.Trainer._train_step

    def poisoned(self: training.Trainer, inputs: torch.Tensor, targets: torch.Tensor, count: int) -> None:
        trainers.append(self)
        if len(trainers) == 3:
            before.update({name: value.clone() for name, value in self.model.state_dict().items()})
        original(self, inputs * float("nan") if len(trainers) == 3 else inputs, targets, count)

    monkeypatch.setattr(training.Trainer, "_train_step", poisoned)
    _defer(monkeypatch)
    with pytest.raises(NonFiniteLossError, match="nan in step 3:"):
        train(tiny_config(optimizer=optimizer, lr=1e-3, log_every=6), tiny_dataset())
    assert len(trainers) == 6  # the block was read after the sixth step; the last four were not applied
    assert equal(before, trainers[-1].model.state_dict())


def test_devices_and_precisions_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny_dataset()
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        train(tiny_config(precision="fp16"), data)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(UsageError, match="built without CUDA"):
        train(tiny_config(device="cuda"), data)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no NVIDIA GPU or no driver"):
        train(tiny_config(device="cuda:0"), data)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=r"no such GPU.*cuda:0 to cuda:1"):
        train(tiny_config(device="cuda:2"), data)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)  # as a process under torchrun has chosen it
    assert resolve_device("cuda") == torch.device("cuda:1")


def test_a_warm_up_ends_before_the_run() -> None:
    with pytest.raises(UsageError, match="--warmup-steps 12: the whole run has 12 steps"):
        train(tiny_config(warmup_steps=12), tiny_dataset())


@pytest.mark.parametrize("backend", ["fused", "stock"])
def test_deterministic_algorithms_are_enough(backend: str) -> None:
    plain = train(tiny_config(backend=backend), tiny_dataset())
    strict = train(tiny_config(backend=backend, deterministic=True), tiny_dataset())
    assert equal(weights_of(plain), weights_of(strict))
    assert not torch.are_deterministic_algorithms_enabled()


def test_compile_trains_the_same() -> None:
    plain, compiled = (train(tiny_config(epochs=1, compile=value), tiny_dataset()) for value in (False, True))
    assert compiled.evaluation.loss == pytest.approx(plain.evaluation.loss, rel=1e-3)


@pytest.mark.parametrize(("arch", "at_least"), [("speedrun", 0.988), ("anchor", 0.985)])
def test_recipes_on_the_real_data(arch: str, at_least: float, mnist_root: Path) -> None:
    result = train(make_config({"arch": arch}), load_dataset("mnist", mnist_root, offline=True))
    assert result.evaluation.accuracy >= at_least
