"""Learning-rate schedules as pure functions of the step, so that a resumed run needs no schedule state."""

from __future__ import annotations

import math

from mnist_fast.errors import UsageError
from mnist_fast.recipes import SCHEDULES


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))


def _one_cycle(step: int, total: int) -> float:
    """``torch.optim.lr_scheduler.OneCycleLR`` with its defaults: 30% up from 1/25, down to 1/25/10,000."""
    peak = 0.3 * total - 1
    if step <= peak:
        return _cosine(1 / 25, 1.0, step / peak)
    return _cosine(1.0, 1 / 25e4, (step - peak) / (total - 1 - peak))


def _piecewise_linear(fraction: float) -> float:
    """From 0.2 to 1 over the first fifth of the images, then to 0."""
    return 0.2 + 0.8 * fraction / 0.2 if fraction < 0.2 else (1 - fraction) / 0.8


def learning_rate_factor(
    schedule: str, step: int, *, total_steps: int, steps_per_epoch: int, warmup_steps: int = 0
) -> float:
    """What the base learning rate is multiplied by in one step.

    Args:
        schedule: one of :data:`mnist_fast.recipes.SCHEDULES`. ``step`` multiplies by 0.7 after each epoch, as
            PyTorch's own MNIST example does; ``cosine`` falls to 0; ``one-cycle`` is torch's ``OneCycleLR``.
        step: optimizer steps done so far in the whole run, from 0 to ``total_steps - 1``.
        total_steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of one epoch.
        warmup_steps: fewer than ``total_steps``. In them the factor rises linearly to the schedule's first, and the
            schedule has the rest of the run; ``step`` still falls where an epoch ends.

    Raises:
        UsageError: no such schedule.
    """
    if step < warmup_steps:
        first = learning_rate_factor(
            schedule, 0, total_steps=total_steps - warmup_steps, steps_per_epoch=steps_per_epoch
        )
        return first * (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return 0.7 ** (step // steps_per_epoch)
    step, total_steps = step - warmup_steps, total_steps - warmup_steps
    if schedule == "cosine":
        return _cosine(1.0, 0.0, step / total_steps)
    if schedule == "one-cycle":
        return _one_cycle(step, total_steps)
    if schedule == "piecewise-linear":
        return _piecewise_linear(step / total_steps)
    raise UsageError(f"unknown schedule {schedule!r}; choose from {', '.join(SCHEDULES)}")
