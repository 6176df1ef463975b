"""The average of the weights, against the recursion written out; and as a run evaluates, saves and resumes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import tiny_config, tiny_dataset
from torch import nn

from mnist_fast.averaging import weight_average
from mnist_fast.checkpoint import load_checkpoint
from mnist_fast.errors import InterruptedRunError
from mnist_fast.evaluation import evaluate
from mnist_fast.runs import RunDirectory
from mnist_fast.training import train


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_recursion(decay: float) -> None:
    model = nn.Linear(3, 2)
    average = weight_average(model, decay)
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for update in range(50):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        average.update_parameters(model)
        weight = 0.0 if update == 0 else min(decay, (1 + update) / (10 + update))  # it begins with the first weights
        expected = weight * expected + (1 - weight) * model.weight.detach().double()
    torch.testing.assert_close(average.module.weight.detach().double(), expected, rtol=1e-5, atol=1e-5)


def test_the_average_is_what_is_evaluated_saved_and_resumed(tmp_path: Path) -> None:
    config, data = tiny_config(ema=0.9), tiny_dataset()
    with RunDirectory(tmp_path / "whole") as run:
        whole = train(config, data, run=run)
    plain = train(tiny_config(), data)
    saved = load_checkpoint(tmp_path / "whole" / "last.safetensors")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(saved.weights[name], value)
        assert not torch.equal(plain.model.state_dict()[name], value)
    again = evaluate(saved.build(), data.test_images, data.test_labels, mean=data.mean, std=data.std)
    assert again.loss == pytest.approx(whole.evaluation.loss)

    asked = iter(range(1, 100))
    with RunDirectory(tmp_path / "parts") as run, pytest.raises(InterruptedRunError):
        train(config, data, run=run, received_signal=lambda: 2 if next(asked) >= 4 else None)
    with RunDirectory(tmp_path / "parts", resume=True) as run:
        resumed = train(config, data, run=run)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)
