"""Accuracy and loss on labelled images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_fast.data import batches
from mnist_fast.data.augmentation import views
from mnist_fast.devices import autocast, synchronize
from mnist_fast.parallel import ALONE, Workers

# By device. On a CPU so few images stay nearer to the caches, and their activations small enough for malloc to use
# memory again: cnn's test pass takes 0.6 of its time with 1000. A GPU wants to be full.
BATCH_SIZES = {"cpu": 250, "cuda": 1000}
Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """What a network makes of a set of images.

    Attributes:
        accuracy: fraction of the images whose largest output is that of their label.
        loss: mean cross-entropy, without label smoothing.
        predictions: (N,) int64 class indices on the CPU.
        seconds: wall-clock time of batches, forward pass and comparison.
    """

    accuracy: float
    loss: float
    predictions: Tensor
    seconds: float


def prediction(model: nn.Module, precision: str, device: torch.device) -> Predict:
    """The forward pass of ``model`` in ``precision``."""

    def forward(inputs: Tensor) -> Tensor:
        with autocast(precision, device):
            return cast(Tensor, model(inputs))

    return forward


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    mean: float,
    std: float,
    precision: str = "fp32",
    average_views: bool = False,
    workers: Workers = ALONE,
    forward: Predict | None = None,
) -> Evaluation:
    """Run ``model`` in evaluation mode over all images, on the device its parameters are on.

    Args:
        model: from normalised (N, 1, 28, 28) float images to (N, classes) logits or log-probabilities. Its training
            mode is restored.
        images: (N, 28, 28) uint8, N at least 1.
        labels: (N,) int64.
        mean: subtracted from pixel / 255.
        std: what the difference is divided by.
        precision: ``fp32``, or ``bf16`` or ``fp16`` autocast.
        average_views: take the mean of the outputs for nine copies of each image, moved a little
            (:func:`mnist_fast.data.augmentation.views`), instead of the output for the image alone.
        workers: processes that call this together, each to evaluate its share; all get the same result.
        forward: does what :func:`prediction` of the model would do; None: that.
    """
    device = next(model.parameters()).device
    forward = forward or prediction(model, precision, device)
    was_training = model.training
    model.eval()
    start = time.perf_counter()
    loss = torch.zeros((), dtype=torch.float64, device=device)
    predictions = [torch.empty(0, dtype=torch.int64, device=device)]
    own_images, own_labels = workers.share(images), workers.share(labels)
    size = BATCH_SIZES[device.type]
    seen = [
        batches(own_images, own_labels, size, mean=mean, std=std, view=view, device=device)
        for view in (views() if average_views else [None])
    ]
    for copies in zip(*seen, strict=True):
        # In float64, so that the sum over many batches adds no rounding of its own.
        logits = torch.stack([forward(inputs).to(torch.float64, copy=True) for inputs, _ in copies]).mean(0)
        loss = loss + F.cross_entropy(logits, copies[0][1], reduction="sum")
        predictions.append(logits.argmax(dim=1))
    predicted = workers.whole(torch.cat(predictions), len(labels)).cpu()
    workers.sum(loss)
    synchronize(device)
    seconds = time.perf_counter() - start
    model.train(was_training)
    correct = int((predicted == labels.cpu()).sum())
    return Evaluation(correct / len(labels), loss.item() / len(labels), predicted, seconds)
