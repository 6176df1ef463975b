"""What one timed call does."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_fast.bench.config import MODES
from mnist_fast.bench.modes import Subject
from mnist_fast.losses import CrossEntropy
from mnist_fast.optim import build_optimizers, clear_gradients, step
from mnist_fast.recipes import RECIPES

Call = Callable[[], object]


def forward(subject: Subject) -> Call:
    """The forward pass as in training: the graph for the backward pass is built, and dropped."""
    return lambda: subject.forward(subject.input)


def forward_backward(subject: Subject) -> Call:
    """The forward pass, and the backward pass from a given dense gradient into fresh ``.grad`` tensors."""
    gradient = output_gradient(subject)

    def call() -> None:
        subject.clear_gradients()
        subject.forward(subject.input).backward(gradient)

    return call


def training_step(subject: Subject, arch: str) -> Call:
    """Clear the gradients, forward pass, loss, backward pass and optimizer step of the network's own recipe.

    A stock mode is what one writes with torch alone: its loss, ``zero_grad()`` and ``step()``. A fused mode takes the
    calls that our trainer takes in their places.

    The learning rate is 0: the arithmetic is the same, and every step finds the parameters that were checked, however
    many steps the modes have done. Trained on one batch over and over, the loss would vanish.
    """
    recipe = RECIPES[arch]
    optimizers = build_optimizers(recipe, subject.module)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 0.0

    def stock_step() -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
        output = subject.forward(subject.input).float()
        F.cross_entropy(output, subject.labels, label_smoothing=recipe.label_smoothing).backward()
        for optimizer in optimizers:
            optimizer.step()

    if not MODES[subject.mode].fused:
        return stock_step

    loss = CrossEntropy(subject.forward(subject.input).shape[1], recipe.label_smoothing, subject.input.device)

    def fused_step() -> None:
        clear_gradients(optimizers)
        loss(subject.forward(subject.input).float(), subject.labels).backward()
        step(optimizers)

    return fused_step


def inference(subject: Subject) -> Callable[[], Tensor]:
    """The forward pass in evaluation mode, without a graph."""

    @torch.inference_mode()
    def call() -> Tensor:
        return subject.forward(subject.input)

    return call


def prepare(name: str, subject: Subject, arch: str) -> Call:
    """The call to time for one of :data:`mnist_fast.bench.config.PASSES`; it leaves no gradient from before it."""
    subject.module.train(name != "inference")
    subject.clear_gradients()
    if name == "step":
        return training_step(subject, arch)
    return {"forward": forward, "forward_backward": forward_backward, "inference": inference}[name](subject)


def output_gradient(subject: Subject, seed: int = 1) -> Tensor:
    """Random normals with the shape, dtype and memory layout of the output; the same values in every mode."""
    output = subject.forward(subject.input).detach()
    generator = torch.Generator().manual_seed(seed)
    return torch.empty_like(output).copy_(torch.randn(output.shape, generator=generator))
