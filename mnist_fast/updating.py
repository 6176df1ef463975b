"""What a training step does with its gradients: learning rate, clipping, the optimizers, the average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from mnist_fast.averaging import weight_average
from mnist_fast.losses import backward
from mnist_fast.optim import build_optimizers, clear_gradients, step
from mnist_fast.recipes import Recipe


class Updater:
    """The optimizers of a recipe and what goes with them.

    Args:
        recipe: which optimizers, clipping and averaging.
        model: whose parameters that require gradients are trained.
        device: where they are.
        scaled: scale the loss up, without which float16 gradients underflow.

    Attributes:
        optimizers: they hold each trained parameter once.
        result: what is evaluated and saved: the averaged copy of ``model``, or ``model``.
        scaled: as given.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, device: torch.device, *, scaled: bool) -> None:
        self.optimizers = build_optimizers(recipe, model)
        self.scaled = scaled
        self._model = model
        self._scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self._clip_grad_norm = recipe.clip_grad_norm
        self._average = None if recipe.ema is None else weight_average(model, recipe.ema)
        self.result: nn.Module = model if self._average is None else self._average.module

    def clear(self) -> None:
        """Forget the gradients of the step before."""
        clear_gradients(self.optimizers)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss``."""
        backward(self._scaler.scale(loss))

    def prepare_recording(self) -> None:
        """Keep what changes from step to step in tensors, where a recorded :meth:`update` finds it when replayed."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                device = group["params"][0].device
                # On a CPU in Python's own precision: the update is then the same to the bit.
                dtype = torch.float64 if device.type == "cpu" else torch.float32
                group["lr"] = torch.tensor(float(group["lr"]), device=device, dtype=dtype)
                if "capturable" in group:
                    group["capturable"] = device.type == "cuda"

    def set_rates(self, factor: float) -> None:
        """``factor`` times the base learning rates, for the updates that follow."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                rate = group["initial_lr"] * factor
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def update(self) -> None:
        """Clip the gradients and update the parameters with them."""
        if self._clip_grad_norm is not None:
            for optimizer in self.optimizers:
                self._scaler.unscale_(optimizer)
            clip_grad_norm_(self._model.parameters(), self._clip_grad_norm)
        if self.scaled:
            for optimizer in self.optimizers:
                self._scaler.step(optimizer)
            self._scaler.update()
        else:
            step(self.optimizers)

    def average(self) -> None:
        """Take the parameters into the average."""
        if self._average is not None:
            self._average.update_parameters(self._model)

    def state_dict(self) -> dict[str, Any]:
        """What the next steps depend on, beside the parameters."""
        return {
            "optimizers": [_portable(optimizer.state_dict()) for optimizer in self.optimizers],
            "scaler": self._scaler.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave; other keys in ``state`` are left alone."""
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])


def _portable(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state as if nothing was recorded: a run may go on with or without that, and on another device."""
    groups = [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]
    for group in groups:
        if "capturable" in group:
            group["capturable"] = False
    return {**state, "param_groups": groups}
