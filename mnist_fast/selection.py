"""How good a network is after each epoch, on which images, and when that is reason to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from mnist_fast.data import Dataset
from mnist_fast.evaluation import Evaluation, Predict, evaluate, prediction
from mnist_fast.losses import NonFiniteLossError
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.parallel import Workers

MEASURES = ("val_accuracy", "val_loss", "test_accuracy", "test_loss")
History = Sequence[dict[str, Any]]


class Selection:
    """Evaluates, and compares epochs by their accuracy: on the validation images, or the test images without them.

    Args:
        dataset: where the images are.
        spec: how they are normalised.
        precision: of the forward pass.
        average_views: as in :func:`mnist_fast.evaluation.evaluate`.
        device: where the network is.
        workers: the processes that share the work.
        patience: as in :class:`mnist_fast.config.Config`.
        recorded: makes a forward pass one that is recorded and replayed.

    Attributes:
        part: ``val`` or ``test``: the images that tell.
    """

    def __init__(
        self,
        dataset: Dataset,
        spec: NetworkSpec,
        precision: str,
        average_views: bool,
        device: torch.device,
        workers: Workers,
        patience: int | None,
        recorded: Callable[[Predict], Predict] | None = None,
    ) -> None:
        self.part = "val" if len(dataset.val_labels) else "test"
        self._spec, self._precision, self._workers, self._patience = spec, precision, workers, patience
        self._device, self._recorded, self._average_views = device, recorded, average_views
        self._forward: tuple[nn.Module, Predict] | None = None  # the recorded one, and of which network
        self._images = {"test": (dataset.test_images.to(device), dataset.test_labels.to(device))}
        if self.part == "val":
            self._images["val"] = dataset.val_images.to(device), dataset.val_labels.to(device)

    def evaluate(self, model: nn.Module, part: str) -> Evaluation:
        """Evaluate on the images of ``part``. Raises NonFiniteLossError: the loss is NaN or infinite."""
        spec = self._spec
        evaluation = evaluate(
            model,
            *self._images[part],
            mean=spec.mean,
            std=spec.std,
            precision=self._precision,
            average_views=self._average_views,
            workers=self._workers,
            forward=self._recorded_forward(model),
        )
        if not math.isfinite(evaluation.loss):
            raise NonFiniteLossError(
                f"the {part} loss is {evaluation.loss}: training stopped, nothing was saved; try a lower --lr"
            )
        return evaluation

    def _recorded_forward(self, model: nn.Module) -> Predict | None:
        if self._recorded is None:
            return None
        if self._forward is None or self._forward[0] is not model:
            self._forward = model, self._recorded(prediction(model, self._precision, self._device))
        return self._forward[1]

    def last_is_best(self, history: History) -> bool:
        """Whether the last of the epochs is better than all before it."""
        *before, last = self._accuracies(history)
        return all(last > accuracy for accuracy in before)

    def out_of_patience(self, history: History) -> bool:
        """Whether the best epoch is so long ago that training shall stop."""
        accuracies = self._accuracies(history)
        if self._patience is None or not accuracies:
            return False
        return len(accuracies) - 1 - accuracies.index(max(accuracies)) >= self._patience

    def _accuracies(self, history: History) -> list[float]:
        return [record[f"{self.part}_accuracy"] for record in history]


def measures(part: str, evaluation: Evaluation) -> dict[str, float]:
    """An evaluation's numbers under the names that records have them by."""
    values = {"accuracy": evaluation.accuracy, "loss": evaluation.loss, "seconds": evaluation.seconds}
    return {f"{part}_{name}": value for name, value in values.items()}
