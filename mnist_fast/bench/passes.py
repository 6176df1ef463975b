"""What one timed call does."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_fast.bench.config import MODES
from mnist_fast.bench.modes import Subject
from mnist_fast.config import make_config
from mnist_fast.errors import MnistFastError
from mnist_fast.losses import LossWindow
from mnist_fast.objective import Objective
from mnist_fast.optim import Muon, build_optimizers
from mnist_fast.parallel import ALONE
from mnist_fast.recipes import RECIPES
from mnist_fast.recording import WARM_UP_CALLS
from mnist_fast.stepping import TrainingStep, recorder_for
from mnist_fast.updating import Updater

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


def stock_step(subject: Subject, arch: str) -> Call:
    """A training step as one writes it with torch alone: ``zero_grad()``, forward, loss, ``backward()``, ``step()``.

    The optimizers are those of the network's recipe. The learning rate is 0: the arithmetic is the same, and every step
    finds the parameters that were checked, however many steps the modes have done. Trained on one batch over and over,
    the loss would vanish.
    """
    recipe = RECIPES[arch]
    optimizers = build_optimizers(recipe, subject.module)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 0.0
            if isinstance(optimizer, Muon):
                group["fused"] = False

    def call() -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
        output = subject.forward(subject.input).float()
        F.cross_entropy(output, subject.labels, label_smoothing=recipe.label_smoothing).backward()
        for optimizer in optimizers:
            optimizer.step()

    return call


def trainer_step(subject: Subject, arch: str) -> Call:
    """The same as our trainer does it: all that it does for a step once it has the batch."""
    device = subject.input.device
    config = make_config({"arch": arch, "precision": subject.precision, "compile": MODES[subject.mode].compiled})
    updater = Updater(config, subject.module, device, scaled=False)
    window = LossWindow(device, updater.optimizers, deferred=device.type == "cuda")
    classes = subject.forward(subject.input).shape[1]
    objective = Objective(config, subject.module, classes, device, ALONE, updater.backward)
    step = TrainingStep(objective, updater, window, recorder_for(config, device, ALONE), _refuse)
    count = len(subject.labels)

    def call() -> None:
        window.restart()
        updater.set_rates(0.0)
        window.add(step(subject.input, subject.labels, count))

    for _ in range(WARM_UP_CALLS + 1):  # the last one is recorded, which is no part of what is timed
        call()
    return call


def _refuse(reason: str) -> None:
    raise MnistFastError(f"the step to be timed is not the trainer's: {reason}")


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
        return (trainer_step if MODES[subject.mode].fused else stock_step)(subject, arch)
    return {"forward": forward, "forward_backward": forward_backward, "inference": inference}[name](subject)


def output_gradient(subject: Subject, seed: int = 1) -> Tensor:
    """Random normals with the shape, dtype and memory layout of the output; the same values in every mode."""
    output = subject.forward(subject.input).detach()
    generator = torch.Generator().manual_seed(seed)
    return torch.empty_like(output).copy_(torch.randn(output.shape, generator=generator))
