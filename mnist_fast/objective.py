"""The loss of a training step and its gradients: in lower precision, compiled, in parts, on several processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from mnist_fast.config import Config
from mnist_fast.devices import autocast
from mnist_fast.errors import MnistFastError
from mnist_fast.losses import CrossEntropy
from mnist_fast.parallel import Workers, parallel, unsynchronized


class Objective:
    """Cross-entropy of what a network makes of its inputs.

    Args:
        config: label smoothing, precision, compilation, and how many images go through the network at once.
        module: the network, or what follows its frozen layers.
        num_classes: its outputs.
        device: where it is.
        workers: the processes that share each step.
        backward: called with a loss, adds its gradients to those of the parameters.
    """

    def __init__(
        self,
        config: Config,
        module: nn.Module,
        num_classes: int,
        device: torch.device,
        workers: Workers,
        backward: Callable[[Tensor], None],
    ) -> None:
        self._config, self._device, self._workers, self._backward = config, device, workers, backward
        self._loss = CrossEntropy(num_classes, config.label_smoothing, device)
        compiled = cast(nn.Module, torch.compile(module)) if config.compile else module
        self._module = parallel(compiled, workers)
        self._forward: Callable[[Tensor], Tensor] = _explained(self._module) if config.compile else self._module
        self._in_parts = config.accumulate > 1 or not workers.alone

    def backward(self, inputs: Tensor, targets: Tensor, count: int) -> Tensor:
        """Add the gradients of the mean loss over the ``count`` images of a step, of which these are this process's.

        Returns:
            That loss, ().
        """
        if not self._in_parts:
            loss = self._loss(self._outputs(inputs), targets)
            self._backward(loss)
            return loss
        world = self._workers.world
        size = -(-self._config.batch_size // world)
        parts = list(zip(inputs.split(size), targets.split(size), strict=True))
        total = torch.zeros((), device=self._device)
        for part_inputs, part_targets in parts[:-1]:
            with unsynchronized(self._module):
                total += self._part(part_inputs, part_targets, count / world)
        total += self._part(*parts[-1], count / world)
        # The gradients were averaged over the processes, as if each had the whole step: so is the loss.
        return self._workers.sum(total) / world

    def _part(self, inputs: Tensor, targets: Tensor, count: float) -> Tensor:
        loss = self._loss(self._outputs(inputs), targets, count)
        self._backward(loss)
        return loss.detach()

    def _outputs(self, inputs: Tensor) -> Tensor:
        with autocast(self._config.precision, self._device):
            return self._forward(inputs).float()


def _explained(forward: nn.Module) -> Callable[[Tensor], Tensor]:
    """``forward``, which was compiled, with one line for what the compiler may raise at its first calls."""

    def run(inputs: Tensor) -> Tensor:
        try:
            return cast(Tensor, forward(inputs))
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split())
            raise MnistFastError(f"--compile failed on this machine ({reason[:200]}); leave it out") from None

    return run
