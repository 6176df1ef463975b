"""What goes into the trained layers, step by step: normalised images, or what frozen layers made of them once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from mnist_fast.config import Config
from mnist_fast.data import batches, epoch_order
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.parallel import Workers


@dataclass(frozen=True)
class Feed:
    """The training images, in the order of each epoch.

    Attributes:
        images: uint8 (N, 28, 28), on the device of the training.
        labels: int64 (N,).
        features: (N, …): fed in place of the images; None: the images.
        workers: each process is fed its share of every step.
    """

    config: Config
    spec: NetworkSpec
    images: Tensor
    labels: Tensor
    workers: Workers
    features: Tensor | None = None

    @property
    def images_per_step(self) -> int:
        """Images of a whole step: all its batches, in all processes."""
        return self.config.batch_size * self.config.accumulate

    @property
    def images_per_epoch(self) -> int:
        """Images of an epoch, in all processes."""
        return min(len(self.images), self.config.images_per_epoch or len(self.images))

    def images_in(self, step: int) -> int:
        """Images of step number ``step`` of an epoch, from 0, in all processes; the last may have fewer."""
        return min(self.images_per_step, self.images_per_epoch - step * self.images_per_step)

    def epoch(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's images or features, and their labels, of each step from number ``start`` on."""
        if self.features is None:
            steps = batches(
                self.images,
                self.labels,
                self.images_per_step,
                mean=self.spec.mean,
                std=self.spec.std,
                seed=self.config.seed,
                epoch=epoch,
                start=start,
                limit=self.images_per_epoch,
                augment=self.config.augment,
                augment_strength=self.config.augment_strength,
            )
            if self.workers.alone:
                return steps
            return ((self.workers.share(inputs), self.workers.share(labels)) for inputs, labels in steps)
        order = epoch_order(len(self.labels), self.config.seed, epoch)[: self.images_per_epoch].to(self.labels.device)
        return self._features(self.features, order.split(self.images_per_step)[start:])

    def _features(self, features: Tensor, steps: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, Tensor]]:
        for step in steps:
            indices = self.workers.share(step)
            yield features.index_select(0, indices), self.labels.index_select(0, indices)
