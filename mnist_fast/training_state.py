"""Where a run stands, apart from its network and optimizers: counters, random numbers, and the machine it ran on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Counters:
    """What a run has done so far, in plain values.

    Attributes:
        step: optimizer steps.
        images_seen: training images, with repetition.
        seconds: of training, all epochs.
        epoch_seconds: of training, the current epoch.
        epoch_loss: sum of the losses in the closed windows of the current epoch.
        start_accuracy: fine-tuning only: test accuracy of the checkpoint it started from.
        history: one record for each finished epoch.
    """

    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    epoch_loss: float = 0.0
    start_accuracy: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Counters:
        """The counters among the values of a state."""
        return cls(**{key.name: state[key.name] for key in dataclasses.fields(cls)})


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of the generators that a run draws from, beside those that depend on (seed, epoch) alone."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put the generators back to what :func:`random_state` gave; a run may go on on another kind of device."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def seed_process(seed: int, rank: int, step: int) -> None:
    """Give a process random numbers of its own, where no saved state has any for it."""
    torch.manual_seed(hash((seed, rank, step)) % 2**63)


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is not as it was, of all that a result's last bits depend on, as ``"threads 2 there, 1 now"``."""
    return [f"{key} {then.get(key)} there, {now[key]} now" for key in now if then.get(key) != now[key]]
