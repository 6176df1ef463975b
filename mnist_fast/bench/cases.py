"""What is measured: each convolution block of a network with its true input, and the network as a whole."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mnist_fast.bench.config import LAYER_PASSES, PASSES
from mnist_fast.devices import autocast
from mnist_fast.fusion import unfuse
from mnist_fast.models import get_model
from mnist_fast.nn import ConvReLUMaxPool2d

NETWORK = "network"
OVERHEAD = "overhead"


@dataclass(frozen=True)
class Case:
    """One thing to measure, as a fused and a stock module with the same parameters under the same names.

    Args:
        arch: the reference network.
        layer: the name of one of its blocks, or :data:`NETWORK`.
        fused: the module with ``ConvReLUMaxPool2d`` blocks.
        stock: the same of ``torch.nn`` modules.
        input: (N, C, H, W); for a block the activation that it receives in the network.
        input_requires_grad: whether training the network needs the gradient of this input.
        labels: int64 (N,) classes for the loss of a training step.
    """

    arch: str
    layer: str
    fused: nn.Module
    stock: nn.Module
    input: Tensor
    input_requires_grad: bool
    labels: Tensor

    @property
    def passes(self) -> tuple[str, ...]:
        return PASSES if self.layer == NETWORK else LAYER_PASSES


def build_cases(
    arch: str, batch_size: int, *, device: torch.device, precision: str = "fp32", layers: bool = True, seed: int = 0
) -> list[Case]:
    """The network's blocks in the order they run (with ``layers``), then the network.

    Raises:
        UsageError: no such network.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        network = get_model(arch).to(device)
        images = torch.randn(batch_size, 1, 28, 28).to(device)
        labels = torch.randint(10, (batch_size,)).to(device)
        received = _block_inputs(network, images, precision) if layers else {}
        values = {**received, NETWORK: images}
        parts = {layer: _part(network, layer) for layer in values}
        return [
            Case(arch, layer, parts[layer], unfuse(parts[layer]), value.detach(), value.requires_grad, labels)
            for layer, value in values.items()
        ]


def build_overhead_cases(*, device: torch.device, seed: int = 0) -> list[Case]:
    """One block on one image of 4x4, whose 36 products take no time: what is measured is all around them."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        block = nn.Sequential(OrderedDict(conv=ConvReLUMaxPool2d(1, 1, 3))).to(device)
        image = torch.randn(1, 1, 4, 4).to(device)
    return [Case(OVERHEAD, "conv", block, unfuse(block), image, False, torch.zeros(1, dtype=torch.int64))]


def _part(network: nn.Module, layer: str) -> nn.Module:
    """The network, or one of its blocks alone under its own name."""
    return network if layer == NETWORK else nn.Sequential(OrderedDict([(layer, network.get_submodule(layer))]))


def _block_inputs(network: nn.Module, images: Tensor, precision: str) -> dict[str, Tensor]:
    """What each fused block receives, by name, in the order they run, with the ``requires_grad`` it has in training."""
    received: dict[str, Tensor] = {}
    handles = []
    for name, block in _blocks(network):

        def record(_module: nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
            received[name] = inputs[0]

        handles.append(block.register_forward_pre_hook(record))
    with autocast(precision, images.device):
        network(images)
    for handle in handles:
        handle.remove()
    return received


def _blocks(network: nn.Module) -> Iterator[tuple[str, ConvReLUMaxPool2d]]:
    for name, module in network.named_modules():
        if isinstance(module, ConvReLUMaxPool2d):
            yield name, module
