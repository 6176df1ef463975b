"""Recorded work. Without a GPU a stand-in does as a CUDA graph: nothing when it records, all of it at each replay, on
the memory that the recording saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import tiny_config, tiny_dataset
from torch import Tensor

from mnist_fast import graphs, training
from mnist_fast.graphs import WARM_UP_CALLS, CudaRecorder, Graphed
from mnist_fast.losses import LossWindow, NonFiniteLossError
from mnist_fast.progress import Reporter
from mnist_fast.runs import RunDirectory
from mnist_fast.training import train

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))


class StandIn:
    def __init__(self, *_: object) -> None:
        self.replays = 0

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        return work()

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        result = torch.empty(0)

        def replay() -> None:
            self.replays += 1
            result.set_(work().detach())

        return replay, result


class Broken(StandIn):
    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")


def nobody(reason: str) -> None:
    raise AssertionError(reason)


def test_a_recorded_function_gives_what_it_would_give() -> None:
    recorder, total = StandIn(), torch.zeros(())

    def add(values: Tensor) -> Tensor:
        return total.add_(values.sum())

    graphed = Graphed(add, recorder, nobody)
    for count in range(1, 8):
        assert graphed(torch.ones(2)) == 2 * count
    assert recorder.replays == 7 - WARM_UP_CALLS
    assert graphed(torch.ones(3)) == 17  # another shape runs as it is
    assert recorder.replays == 7 - WARM_UP_CALLS
    assert graphed(torch.ones(2)) == 19


def test_the_shapes_of_the_first_call_are_recorded() -> None:
    """Not those of an epoch's last batch, whenever it comes."""
    recorder = StandIn()
    graphed = Graphed(lambda values: values.sum(), recorder, nobody)
    sizes = [4] * WARM_UP_CALLS + [3, 4, 4, 3]
    assert [int(graphed(torch.ones(size))) for size in sizes] == sizes
    assert recorder.replays == 2


def test_what_cannot_be_recorded_runs_as_it_is() -> None:
    warnings: list[str] = []
    graphed = Graphed(lambda values: values.sum(), Broken(), warnings.append)
    assert [int(graphed(torch.tensor([count]))) for count in range(8)] == list(range(8))
    assert warnings == ["no CUDA graph (operation not permitted when stream is capturing); going on without one"]


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on the CPU the way it is done on a GPU."""
    monkeypatch.setattr(training, "CudaRecorder", StandIn)
    monkeypatch.setattr(training.Trainer, "_records_graphs", lambda _: True)
    monkeypatch.setattr(
        training, "LossWindow", lambda device, optimizers, **_: LossWindow(device, optimizers, deferred=True)
    )


@pytest.mark.parametrize("optimizer", ["muon", "adam", "sgd"])
@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "clip_grad_norm": 0.5, "schedule": "cosine"}, {"accumulate": 2}])
def test_recorded_steps_train_as_plain_ones(optimizer: str, options: dict, request: pytest.FixtureRequest) -> None:
    config = tiny_config(optimizer=optimizer, lr=1e-2, batch_size=10, epochs=3, **options)  # the last batch is smaller
    plain = train(config, tiny_dataset()).model.state_dict()
    request.getfixturevalue("on_a_gpu")
    recorded = train(config, tiny_dataset()).model.state_dict()
    for name, expected in plain.items():  # the rate is a float32 now
        torch.testing.assert_close(recorded[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("on_a_gpu")
def test_a_run_of_recorded_steps_resumes(tmp_path: Path) -> None:
    config = tiny_config(optimizer="muon", epochs=2, save_every=4)
    expected = train(config, tiny_dataset()).model.state_dict()
    count = 0

    def signal() -> int | None:
        nonlocal count
        count += 1
        return 2 if count >= 5 else None

    with RunDirectory(tmp_path) as run, pytest.raises(training.InterruptedRunError):
        train(config, tiny_dataset(), run=run, received_signal=signal)
    with RunDirectory(tmp_path, resume=True) as run:
        resumed = train(config, tiny_dataset(), run=run).model.state_dict()
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
    graphed = Graphed(lambda values: total.add_(values.sum()), CudaRecorder(torch.device("cuda", 0)), nobody)
    assert [float(graphed(torch.full((2,), 1.0, device="cuda"))) for _ in range(6)] == [2, 4, 6, 8, 10, 12]
    assert graphs.WARM_UP_CALLS < 6
