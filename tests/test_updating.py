"""What a step does with gradients: clipping, weight decay by group, warm-up."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_config
from torch import nn

from mnist_fast.updating import Updater

CPU = torch.device("cpu")


def _step(gradient: float, **options: object) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    """One SGD step at rate 1 of a layer of ones whose gradients are all ``gradient``; and its changes."""
    layer = nn.Linear(3, 1)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    updater = Updater(tiny_config(optimizer="sgd", lr=1.0, momentum=0.0, **options), layer, CPU, scaled=False)
    updater.clear()
    updater.backward(gradient * (layer.weight.sum() + layer.bias.sum()))
    updater.set_rates(1.0)
    updater.update()
    updater.average()
    return layer, 1 - layer.weight.detach(), 1 - layer.bias.detach()


@pytest.mark.parametrize(("gradient", "norm"), [(10.0, 1.0), (0.1, 0.2)])
def test_gradients_are_scaled_down_to_the_norm_and_never_up(gradient: float, norm: float) -> None:
    _, weight, bias = _step(gradient, clip_grad_norm=1.0)
    assert torch.cat([weight.flatten(), bias]).norm() == pytest.approx(norm, rel=1e-4)


def test_biases_do_not_decay() -> None:
    _, weight, bias = _step(0.0, weight_decay=0.25)
    assert torch.equal(weight, torch.full((1, 3), 0.25))
    assert torch.equal(bias, torch.zeros(1))


def test_nothing_to_divide_is_one_group() -> None:
    """Each group costs time in every step."""
    updater = Updater(tiny_config(optimizer="adam"), nn.Linear(3, 1), CPU, scaled=False)
    assert [len(optimizer.param_groups) for optimizer in updater.optimizers] == [1]


def test_the_rate_is_a_multiple_of_each_groups_own() -> None:
    layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    config = tiny_config(optimizer="adam", lr=0.5, backbone_lr_factor=0.1)
    updater = Updater(config, layers, CPU, scaled=False)
    updater.set_rates(0.5)
    updater.update()
    updater.average()
    (optimizer,) = updater.optimizers
    rates = {id(tensor): group["lr"] for group in optimizer.param_groups for tensor in group["params"]}
    assert [rates[id(tensor)] for tensor in layers.parameters()] == pytest.approx([0.025, 0.025, 0.25, 0.25])


def test_a_state_says_nothing_of_recording() -> None:
    """A run that was recorded on one device goes on without that, or on another device."""
    updater = Updater(tiny_config(optimizer="adam"), nn.Linear(3, 1), CPU, scaled=False)
    updater.prepare_recording()
    (group,) = updater.optimizers[0].param_groups
    assert (type(group["lr"]), group["capturable"]) == (torch.Tensor, False)
    group["capturable"] = True  # as on a GPU
    (saved,) = updater.state_dict()["optimizers"][0]["param_groups"]
    assert (type(saved["lr"]), saved["capturable"]) == (float, False)
    assert group["capturable"] is True
