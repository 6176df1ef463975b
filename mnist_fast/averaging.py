"""An exponential moving average of the weights, on ``torch.optim.swa_utils``."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def weight_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``model`` whose ``update_parameters`` does ``average = d * average + (1 - d) * parameter``.

    ``d`` is ``decay``, but no more than (1 + n) / (10 + n) in update n: else the average of a run of a few hundred
    steps would mostly be its first weights.

    Args:
        decay: above 0 and below 1.
    """

    @torch.no_grad()
    def update(averages: Iterable[Tensor], parameters: Iterable[Tensor], updates: Tensor | int) -> None:
        count = int(updates)
        torch._foreach_lerp_(list(averages), list(parameters), 1 - min(decay, (1 + count) / (10 + count)))

    return AveragedModel(model, multi_avg_fn=update)
