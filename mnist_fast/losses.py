"""The training loss; its running mean, and a stop before the optimizer applies a step whose loss is not a number."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.optim import Optimizer

from mnist_fast.errors import MnistFastError
from mnist_fast.ops import library
from mnist_fast.ops.observed import observed
from mnist_fast.tape import also_when_replayed


class CrossEntropy:
    """:class:`torch.nn.CrossEntropyLoss` with label smoothing, to within rounding.

    On CPUs one operator of ours gives float32 losses and their gradients; elsewhere it is torch's, from a table of the
    smoothed labels of every class. torch's own way to smooth takes twice as long on small batches: it adds a term for
    the labels' uniform part, with nodes of its own in the graph.

    Args:
        num_classes: C.
        label_smoothing: the weight of the uniform distribution, from 0 to 1.
        device: where the outputs will be.

    Shapes: outputs float (N, C), logits or log-probabilities (log_softmax leaves those as they are); targets int64
    (N,); the mean over the batch, (). With ``count``, the images of a step of which this batch is a part: the sum over
    the batch divided by it, so that the parts' losses and gradients add up to those of the step.
    """

    def __init__(self, num_classes: int, label_smoothing: float, device: torch.device | None = None) -> None:
        self._smoothing = label_smoothing
        self._smoothed: Tensor | None = None
        if label_smoothing > 0:
            own = (1 - label_smoothing) * torch.eye(num_classes, device=device)
            self._smoothed = own + label_smoothing / num_classes

    def __call__(self, outputs: Tensor, targets: Tensor, count: float | None = None) -> Tensor:
        if _is_covered(outputs, targets):
            divisor = len(targets) if count is None else count
            return _CrossEntropy.apply(outputs, targets, self._smoothing, divisor)
        wanted = targets if self._smoothed is None else self._smoothed.index_select(0, targets)
        if count is None:
            return F.cross_entropy(outputs, wanted)
        return F.cross_entropy(outputs, wanted, reduction="sum") / count


# What backward starts from. Where this very tensor arrives, there is nothing to multiply with.
_START = torch.ones(())


def backward(loss: Tensor) -> None:
    """``loss.backward()``, bit by bit, without two operators where the loss is :class:`CrossEntropy`'s own."""
    loss.backward(_START if loss.is_cpu and loss.dtype is torch.float32 and loss.dim() == 0 else None)


class _CrossEntropy(torch.autograd.Function):
    """The loss and its gradient by one operator."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, targets: Tensor, smoothing: float, divisor: float) -> Tensor:
        loss, gradient = torch.ops.mnist_fast.cross_entropy(outputs, targets, smoothing, divisor)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient if grad_loss is _START else gradient * grad_loss, None, None, None


def _is_covered(outputs: Tensor, targets: Tensor) -> bool:
    """Whether our operator computes the loss."""
    return (
        library.missing is None
        and library.backend != "stock"
        and outputs.is_cpu
        and targets.is_cpu
        and outputs.dtype is torch.float32
        and targets.dtype is torch.int64
        and outputs.dim() == 2
        and outputs.numel() > 0
        and outputs.is_contiguous()
        and targets.is_contiguous()
        and not observed(outputs, targets)
    )


class NonFiniteLossError(MnistFastError):
    """The loss became NaN or infinite; no update from that step on was applied."""


class LossWindow:
    """The losses since the last record.

    Each loss is looked at as it comes, unless the window is deferred. On a GPU that look would make every step wait for
    the device: there a flag on the device, raised by the first non-finite loss and never lowered, is handed to the
    optimizers as ``found_inf``, with which torch's fused optimizers (and :class:`~mnist_fast.optim.Muon`) skip their
    update, and the values are read in one block when the window closes.

    Args:
        device: where the losses are.
        optimizers: those that will be told, if deferred.
        deferred: read the losses in a block. Not beside a gradient scaler, which uses ``found_inf`` itself.

    Attributes:
        step: number of the step under way, counted from 1, as errors name it.
    """

    def __init__(self, device: torch.device, optimizers: list[Optimizer], *, deferred: bool) -> None:
        self.step = 1
        self._values: list[float] = []
        self._pending: list[Tensor] = []
        self._found_inf: Tensor | None = None
        if deferred:
            self._found_inf = torch.zeros((), device=device)
            for optimizer in optimizers:
                optimizer.found_inf = self._found_inf  # type: ignore[attr-defined]

    def guard(self, loss: Tensor) -> None:
        """Stop the update of the step if its loss is not finite; nothing waits for a GPU here.

        Raises:
            NonFiniteLossError: it is not finite (if deferred, that comes from :meth:`values`).
        """
        if self._found_inf is None:
            also_when_replayed(self._look, loss)
        else:
            self._found_inf.copy_(torch.maximum(self._found_inf, (~loss.detach().isfinite()).float()))

    def _look(self, loss: Tensor) -> None:
        self._values.append(_finite(loss.item(), self.step))

    def add(self, loss: Tensor) -> None:
        """Take the loss of a step that was guarded. The tensor itself may be overwritten afterwards."""
        if self._found_inf is not None:
            self._pending.append(loss.detach().clone())

    def values(self) -> list[float]:
        """The window's losses, the last being that of ``step``. Raises NonFiniteLossError: one is not finite."""
        if self._pending:
            first = self.step - len(self._pending) + 1
            for number, value in enumerate(torch.stack(self._pending).tolist()):
                self._values.append(_finite(value, first + number))
            self._pending.clear()
        return self._values

    def restart(self, values: list[float] | None = None) -> None:
        """Open a new window, holding ``values``."""
        self._values = list(values or [])
        self._pending.clear()


def _finite(value: float, step: int) -> float:
    if not math.isfinite(value):
        raise NonFiniteLossError(
            f"the loss became {value} in step {step}: training stopped before the optimizer applied it; "
            "try a lower --lr or --precision fp32"
        )
    return value
