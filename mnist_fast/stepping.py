"""One step of a training run: gradients, a look at the loss, an update; recorded and replayed where possible."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mnist_fast.config import Config
from mnist_fast.graphs import CudaRecorder
from mnist_fast.losses import LossWindow
from mnist_fast.objective import Objective
from mnist_fast.parallel import Workers
from mnist_fast.recording import Recorded, Recorder
from mnist_fast.tape import TapeRecorder
from mnist_fast.updating import Updater


def recorder_for(config: Config, device: torch.device, workers: Workers) -> Recorder | None:
    """What records the steps of a run; None: they run as they are."""
    if config.compile or config.precision == "fp16" or not workers.alone:
        return None
    if device.type == "cuda":
        return CudaRecorder(device) if config.cuda_graph else None
    return TapeRecorder() if config.replay else None


class TrainingStep:
    """Advances the parameters by one batch.

    Args:
        objective: gives the loss and its gradients.
        updater: what is done with them.
        window: looks at the loss before the update.
        recorder: None: every step runs as it is.
        warn: told where a step could not be recorded.
    """

    def __init__(
        self,
        objective: Objective,
        updater: Updater,
        window: LossWindow,
        recorder: Recorder | None,
        warn: Callable[[str], None],
    ) -> None:
        self._objective, self._updater, self._window = objective, updater, window
        self._recorded: Recorded | None = None
        if recorder is not None:
            updater.prepare_recording()
            self._recorded = Recorded(lambda inputs, targets: self._run(inputs, targets, len(targets)), recorder, warn)

    def __call__(self, inputs: Tensor, targets: Tensor, count: int) -> Tensor:
        """Step on ``count`` images, of which these are the share of this process.

        Returns:
            The loss, (); the next call may overwrite it.

        Raises:
            NonFiniteLossError: the loss is not a number; nothing was updated.
        """
        if self._recorded is not None:
            return self._recorded(inputs, targets)
        return self._run(inputs, targets, count)

    def _run(self, inputs: Tensor, targets: Tensor, count: int) -> Tensor:
        self._updater.clear()
        loss = self._objective.backward(inputs, targets, count)
        self._window.guard(loss)
        self._updater.update()
        return loss
