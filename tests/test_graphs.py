"""Training in CUDA graphs; without a GPU, on the CPU with a stand-in for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import interrupted_and_resumed, tiny_config, tiny_dataset
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnist_fast import training
from mnist_fast.evaluation import prediction
from mnist_fast.graphs import CudaRecorder
from mnist_fast.losses import LossWindow, NonFiniteLossError
from mnist_fast.models import get_model
from mnist_fast.objective import Objective
from mnist_fast.ops import cuda
from mnist_fast.parallel import ALONE
from mnist_fast.progress import Reporter
from mnist_fast.recording import Function, Recorded, Recording
from mnist_fast.stepping import TrainingStep
from mnist_fast.training import train
from mnist_fast.updating import Updater

GPU = torch.device("cuda", 0)
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


# --- what a graph can hold, on tensors that say they are on a GPU and have no values


class Capture(TorchDispatchMode):
    """Refuses what no CUDA graph can hold: operators on anything but one GPU. To read a fake tensor's value raises."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_fused_update = "_fused_" in str(call)
        result = None if is_fused_update else call(*args, **kwargs)  # torch has no fake ones
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        assert {tensor.device for tensor in tensors} <= {GPU}, f"{call} leaves the GPU"
        if is_fused_update:
            assert kwargs["lr"].dtype is torch.float32  # what those kernels read
        self.calls.append(str(call))
        return result


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cuda, "why_not_usable", lambda device: None)
    monkeypatch.setattr(cuda, "why_not_covered", lambda sizes, element_bytes: None)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with FakeTensorMode():
        yield


def pretended_step(*, deferred: bool = True, **options: Any) -> list[str]:
    """The operators of a training step as it is captured, but for the backward pass, which needs a real GPU."""
    config = tiny_config(batch_size=8, device="cuda", **options)
    with torch.device(GPU):
        model = get_model(config.arch)
        count = config.batch_size * config.accumulate
        inputs, targets = torch.empty(count, 1, 28, 28), torch.empty(count, dtype=torch.int64)
    updater = Updater(config, model, GPU, scaled=False)
    updater.prepare_recording()
    window = LossWindow(GPU, updater.optimizers, deferred=deferred)

    def backward(loss: Tensor) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)

    step = TrainingStep(Objective(config, model, 10, GPU, ALONE, backward), updater, window, None, pytest.fail)
    with Capture():
        step(inputs, targets, count)  # the optimizers make their state
    with Capture() as capture:
        step(inputs, targets, count)
    return capture.calls


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize(
    ("options", "blocks"),
    [
        ({"arch": "cnn-padded", "optimizer": "adam"}, 2),
        ({"arch": "cnn-dropout", "optimizer": "sgd", "precision": "bf16"}, 2),
        ({"arch": "lenet", "optimizer": "adamw", "weight_decay": 0.1, "accumulate": 2}, 4),
        ({"arch": "deep", "optimizer": "muon", "label_smoothing": 0.1, "clip_grad_norm": 1.0}, 4),
    ],
    ids=lambda value: value["optimizer"] if isinstance(value, dict) else "",
)
def test_a_step_stays_on_the_gpu(options: dict[str, Any], blocks: int) -> None:
    calls = pretended_step(**options)
    assert calls.count("mnist_fast.conv_relu_maxpool2d_forward.default") == blocks
    assert not [call for call in calls if "convolution" in call]
    assert [call for call in calls if "_fused_" in call]


@pytest.mark.usefixtures("pretended_gpu")
def test_to_look_at_each_loss_is_no_step_for_a_graph() -> None:
    with pytest.raises(DataDependentOutputException):
        pretended_step(deferred=False)


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_evaluation_stays_on_the_gpu(precision: str) -> None:
    with torch.device(GPU):
        model, inputs = get_model("cnn").eval(), torch.empty(8, 1, 28, 28)
    with Capture() as capture, torch.inference_mode():
        prediction(model, precision, GPU)(inputs)
    assert len([call for call in capture.calls if "conv_relu_maxpool2d" in call]) == 2
    assert not [call for call in capture.calls if "convolution" in call]


# --- on a GPU, or without its driver


class Stream:
    def __init__(self, device: torch.device) -> None:
        self.device = device

    def wait_stream(self, other: Stream) -> None:
        pass


@contextmanager
def refused(*_: object, **__: object) -> Iterator[None]:
    raise RuntimeError("CUDA error: operation not permitted\nwhen stream is capturing")
    yield


def test_a_capture_that_fails_is_explained_and_the_step_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"Stream": Stream, "current_stream": Stream, "CUDAGraph": object, "graph": refused}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    messages: list[str] = []
    total = torch.zeros(())
    recorded = Recorded(lambda values: total.add_(values.sum()), CudaRecorder(GPU), messages.append)
    assert [int(recorded(torch.ones(2))) for _ in range(7)] == [2, 4, 6, 8, 10, 12, 14]
    reason = "CUDA error: operation not permitted when stream is capturing"
    assert messages == [f"no CUDA graph ({reason}); going on without one"]


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("optimizer", ["muon", "adam", "sgd"])
def test_graphs_change_nothing(device: str, optimizer: str) -> None:
    class Listener(Reporter):
        def warn(self, message: str) -> None:
            pytest.fail(message)

    options = {"device": device, "optimizer": optimizer, "lr": 1e-2, "batch_size": 10, "epochs": 3}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*capturable")  # torch's, about steps outside a graph
        results = [
            train(tiny_config(cuda_graph=graph, **options), tiny_dataset(), reporter=Listener(quiet=True))
            for graph in (True, False)
        ]
    with_graph, without = (result.model.state_dict() for result in results)
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
