"""What has to be known of a network, beside its weights, to run it on pictures."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from mnist_fast.models import get_model


@dataclass(frozen=True)
class NetworkSpec:
    """A network and the numbers its input is normalised with; checkpoints carry it.

    Attributes:
        arch: a name for :func:`~mnist_fast.models.get_model`.
        num_classes: outputs of the last layer.
        mean: subtracted from pixel / 255.
        std: what the difference is divided by.
        head: ``own`` or ``linear``.
    """

    arch: str
    num_classes: int
    mean: float
    std: float
    head: str = "own"

    def build(self, *, fused: bool = True) -> nn.Module:
        """The network with fresh parameters, on the CPU."""
        return get_model(self.arch, num_classes=self.num_classes, fused=fused, head=self.head)
