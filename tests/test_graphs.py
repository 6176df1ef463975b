"""Training in CUDA graphs; without a GPU, on the CPU with a stand-in for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import interrupted_and_resumed, tiny_config, tiny_dataset
from torch import Tensor

from mnist_fast import training
from mnist_fast.graphs import CudaRecorder
from mnist_fast.losses import LossWindow, NonFiniteLossError
from mnist_fast.progress import Reporter
from mnist_fast.recording import Function, Recording
from mnist_fast.training import train

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))


class StandIn(CudaRecorder):
    """Captures nothing: each replay does the work, on the memory that the recording saw."""

    def __init__(self, *_: object) -> None:
        pass

    def run(self, function: Function, *arguments: Tensor) -> Tensor:
        return function(*arguments)

    def record(self, function: Function, *arguments: Tensor) -> Recording:
        places, result = [torch.empty_like(argument) for argument in arguments], torch.empty(0)

        def replay(*arguments: Tensor) -> Tensor:
            for place, argument in zip(places, arguments, strict=True):
                place.copy_(argument)
            return result.set_(function(*places).detach())

        return Recording(replay(*arguments), replay)


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on the CPU the way it is done on a GPU."""
    monkeypatch.setattr(training, "recorder_for", StandIn)
    monkeypatch.setattr(
        training, "LossWindow", lambda device, optimizers, **_: LossWindow(device, optimizers, deferred=True)
    )


@pytest.mark.parametrize("optimizer", ["muon", "adam", "sgd"])
@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "clip_grad_norm": 0.5, "schedule": "cosine"}, {"accumulate": 2}])
def test_recorded_steps_train_as_plain_ones(optimizer: str, options: dict, request: pytest.FixtureRequest) -> None:
    config = tiny_config(optimizer=optimizer, lr=1e-2, batch_size=10, epochs=3, **options)  # the last batch is smaller
    plain = train(replace(config, replay=False), tiny_dataset()).model.state_dict()
    request.getfixturevalue("on_a_gpu")
    recorded = train(config, tiny_dataset()).model.state_dict()
    for name, expected in plain.items():  # the rate is a float32 now
        torch.testing.assert_close(recorded[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("on_a_gpu")
def test_a_run_of_recorded_steps_resumes(tmp_path: Path) -> None:
    config = tiny_config(optimizer="muon", epochs=2, save_every=4)
    expected = train(config, tiny_dataset()).model.state_dict()
    resumed = interrupted_and_resumed(config, tmp_path)
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())


@pytest.mark.usefixtures("on_a_gpu")
def test_a_loss_that_is_no_number_stops_recorded_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    original = training.Trainer._train_step

    def poisoned(self: training.Trainer, inputs: Tensor, targets: Tensor, count: int) -> None:
        original(self, inputs * float("nan") if self.counters.step == 4 else inputs, targets, count)

    monkeypatch.setattr(training.Trainer, "_train_step", poisoned)
    with pytest.raises(NonFiniteLossError, match="nan in step 5:"):
        train(tiny_config(optimizer="adam", log_every=6), tiny_dataset())


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("optimizer", ["muon", "adam", "sgd"])
def test_graphs_change_nothing(device: str, optimizer: str) -> None:
    warnings: list[str] = []

    class Listener(Reporter):
        def warn(self, message: str) -> None:
            warnings.append(message)

    options = {"device": device, "optimizer": optimizer, "lr": 1e-2, "batch_size": 10, "epochs": 3}
    results = [
        train(tiny_config(cuda_graph=graph, **options), tiny_dataset(), reporter=Listener(quiet=True))
        for graph in (True, False)
    ]
    with_graph, without = (result.model.state_dict() for result in results)
    assert not warnings
    for name, expected in without.items():
        torch.testing.assert_close(with_graph[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_cuda_graph_is_replayed() -> None:
    total = torch.zeros((), device="cuda")
    recorder, ones = CudaRecorder(torch.device("cuda", 0)), torch.ones(2, device="cuda")
    result, replay, reason = recorder.record(lambda values: total.add_(values.sum()), ones)
    assert replay is not None, reason
    assert [float(result), float(replay(ones)), float(replay(2 * ones))] == [2, 4, 8]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_what_no_cuda_graph_can_hold_runs_as_it_is() -> None:
    recorder, ones = CudaRecorder(torch.device("cuda", 0)), torch.ones(2, device="cuda")
    result, replay, reason = recorder.record(lambda values: values * values.sum().item(), ones)
    assert replay is None
    assert reason
    assert result.tolist() == [2, 2]
