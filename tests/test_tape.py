"""Recorded steps on a CPU: the same bits as without, and no wrong replay of what cannot be recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny import interrupted_and_resumed, tiny_config, tiny_dataset
from torch import Tensor, nn

from mnist_fast import tape, training
from mnist_fast.losses import NonFiniteLossError
from mnist_fast.nn import Linear
from mnist_fast.progress import Reporter
from mnist_fast.tape import TapeRecorder, also_when_replayed
from mnist_fast.training import train


class Listener(Reporter):
    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def recorded(function: tape.Function, *arguments: Tensor) -> tape.Function:
    _, replay, reason = TapeRecorder().record(function, *arguments)
    assert replay is not None, reason
    return replay


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each replay of a training step."""
    count: list[int] = []
    original = tape.Tape.replay

    def counting(self: tape.Tape, result: Tensor) -> tape.Function:
        replay = original(self, result)

        def counted(*arguments: Tensor) -> Tensor:
            count.append(1)
            return replay(*arguments)

        return counted

    monkeypatch.setattr(tape.Tape, "replay", counting)
    return count


OPTIONS = [
    {},
    {"optimizer": "muon"},
    {"optimizer": "sgd", "momentum": 0.9},
    {"optimizer": "adamw", "weight_decay": 0.1},
    {"ema": 0.9, "clip_grad_norm": 0.5, "schedule": "cosine"},
    {"accumulate": 2},
    {"arch": "cnn-dropout"},
    {"arch": "anchor", "label_smoothing": 0.1},
    {"precision": "bf16"},
    {"backend": "stock"},
    {"augment": "affine"},
    {"deterministic": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_replayed_steps_train_to_the_same_bits(options: dict, replays: list[int]) -> None:
    options = {"optimizer": "adam", "lr": 1e-3, "batch_size": 10, "epochs": 3, **options}  # the last batch is smaller
    listener = Listener()
    with_tape = train(tiny_config(**options), tiny_dataset(), reporter=listener).model.state_dict()
    assert replays
    assert not listener.warnings
    count = len(replays)
    without = train(tiny_config(replay=False, **options), tiny_dataset()).model.state_dict()
    assert len(replays) == count
    assert all(torch.equal(with_tape[name], value) for name, value in without.items())


def test_a_run_of_replayed_steps_resumes_to_the_same_bits(tmp_path: Path, replays: list[int]) -> None:
    config = tiny_config(optimizer="muon", epochs=3, save_every=4)
    expected = train(config, tiny_dataset()).model.state_dict()
    resumed = interrupted_and_resumed(config, tmp_path)
    assert replays
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())


def test_a_loss_that_is_no_number_stops_before_the_update(monkeypatch: pytest.MonkeyPatch, replays: list[int]) -> None:
    weights: list[Tensor] = []
    original = training.Trainer._train_step

    def poisoned(self: training.Trainer, inputs: Tensor, targets: Tensor, count: int) -> None:
        if self.counters.step == 6:
            inputs = inputs * float("nan")
            weights[:] = [parameter.detach().clone() for parameter in self.model.parameters()]
        try:
            original(self, inputs, targets, count)
        finally:
            if self.counters.step == 6:
                weights.extend(self.model.parameters())

    monkeypatch.setattr(training.Trainer, "_train_step", poisoned)
    with pytest.raises(NonFiniteLossError, match="nan in step 7:"):
        train(tiny_config(optimizer="adam", epochs=3), tiny_dataset())
    assert replays
    half = len(weights) // 2
    assert all(torch.equal(before, after) for before, after in zip(weights[:half], weights[half:], strict=True))


def test_parameters_change_in_place() -> None:
    total = torch.zeros(3)
    replay = recorded(lambda values: total.add_(values).sum(), torch.ones(3))
    assert [float(replay(torch.ones(3) * factor)) for factor in (1, 2)] == [6, 12]
    assert total.tolist() == [4, 4, 4]


def test_random_numbers_are_drawn_anew() -> None:
    def dropout(values: Tensor) -> Tensor:
        return F.dropout(values, 0.5)

    replay = recorded(dropout, torch.ones(1000))
    torch.manual_seed(5)
    first, second = replay(torch.ones(1000)), replay(torch.ones(1000))
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(dropout(torch.ones(1000)), first)


def test_unused_random_numbers_are_drawn_too() -> None:
    replay = recorded(lambda values: (torch.rand(7), values + torch.rand(3))[1], torch.zeros(3))
    torch.manual_seed(5)
    torch.rand(7)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(replay(torch.zeros(3)), expected)


def test_a_linear_layer_keeps_its_product() -> None:
    """The shortcut that is taken where nobody observes is taken under the recorder as well."""
    layer, images = Linear(2048, 512), torch.randn(64, 2048)

    def gradient(images: Tensor) -> Tensor:
        layer.zero_grad()
        layer(images).square().sum().backward()
        assert layer.weight.grad is not None
        return layer.weight.grad

    expected = gradient(images).clone()
    assert torch.equal(recorded(gradient, images)(images), expected)


def test_a_look_at_the_values_is_repeated() -> None:
    seen: list[float] = []

    def step(values: Tensor) -> Tensor:
        total = values.sum()
        also_when_replayed(lambda tensor: seen.append(tensor.item()), total)
        return total * 2

    replay = recorded(step, torch.ones(2))
    replay(torch.ones(2) * 3)
    also_when_replayed(lambda tensor: seen.append(tensor.item()), torch.tensor(9.0))
    assert seen == [2, 6, 9]


def test_what_depends_on_values_is_not_replayed() -> None:
    result, replay, reason = TapeRecorder().record(lambda values: values * values.sum().item(), torch.ones(2))
    assert result.tolist() == [2, 2]
    assert replay is None
    assert "_local_scalar_dense" in reason


def test_an_error_leaves_no_recording_behind() -> None:
    with pytest.raises(ValueError, match="mid-step"):
        TapeRecorder().record(_fails, torch.ones(2))
    replay = recorded(lambda values: values + 1, torch.ones(2))
    assert replay(torch.zeros(2)).tolist() == [1, 1]
    network = nn.Linear(2, 1)
    network(torch.ones(1, 2)).sum().backward()
    assert network.weight.grad is not None


def _fails(values: Tensor) -> Tensor:
    values.sum()
    raise ValueError("mid-step")


def test_intermediate_tensors_are_freed() -> None:
    """A replay holds no more than autograd would: the peak of a long chain is two tensors, not all of them."""
    import resource

    def chain(values: Tensor) -> Tensor:
        for _ in range(100):
            values = values + 1
        return values.sum()

    replay = recorded(chain, torch.zeros(4_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    replay(torch.zeros(4_000_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * 16_000
