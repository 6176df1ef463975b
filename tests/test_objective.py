"""The loss of a step: in parts as in one, compiled as not, in bfloat16 nearly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_config, tiny_dataset

from mnist_fast import objective
from mnist_fast.errors import MnistFastError
from mnist_fast.models import get_model
from mnist_fast.objective import Objective
from mnist_fast.parallel import ALONE
from mnist_fast.training import TrainResult, train


def _gradients(inputs: torch.Tensor, targets: torch.Tensor, **options: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(3)
    model = get_model("speedrun")
    loss = Objective(
        tiny_config(**options), model, 10, torch.device("cpu"), ALONE, lambda loss: loss.backward()
    ).backward(inputs, targets, len(targets))
    return loss, [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("count", [48, 35, 5])  # three batches, an incomplete third, an incomplete first
def test_a_step_in_parts(count: int, smoothing: float) -> None:
    inputs, targets = torch.randn(count, 1, 28, 28), torch.randint(10, (count,))
    whole, gradients = _gradients(inputs, targets, batch_size=48, label_smoothing=smoothing)
    loss, summed = _gradients(inputs, targets, batch_size=16, accumulate=3, label_smoothing=smoothing)
    torch.testing.assert_close(loss, whole.detach(), rtol=1e-6, atol=0)
    for one, other in zip(gradients, summed, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def _trained(**options: Any) -> TrainResult:
    return train(
        tiny_config(arch="lenet", optimizer="sgd", lr=0.05, epochs=2, log_every=100, **options), tiny_dataset()
    )


def test_accumulated_batches_train_as_one_of_their_size() -> None:
    one, parts = _trained(batch_size=36), _trained(batch_size=12, accumulate=3)
    assert (one.images, [record["step"] for record in one.history]) == (192, [3, 6])
    assert (parts.images, [record["step"] for record in parts.history]) == (192, [3, 6])
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("arch", ["speedrun", "cnn"])
def test_bfloat16_learns(arch: str) -> None:
    result = train(tiny_config(arch=arch, epochs=12, precision="bf16"), tiny_dataset())
    assert result.evaluation.accuracy > 0.9


def test_fused_blocks_compile_without_a_break() -> None:
    model = get_model("speedrun")
    images = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(torch.compile(model, fullgraph=True)(images), model(images))


def test_a_compiler_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: torch.nn.Module) -> torch.nn.Module:
        def backend(*_: object) -> None:
            raise RuntimeError("no compiler\nhere")

        return torch._dynamo.optimize(backend)(module)

    monkeypatch.setattr(objective.torch, "compile", broken)
    with pytest.raises(
        MnistFastError, match=r"--compile failed on this machine \(.*no compiler.*leave it out"
    ) as caught:
        _gradients(torch.randn(4, 1, 28, 28), torch.zeros(4, dtype=torch.int64), compile=True)
    assert "\n" not in str(caught.value)
