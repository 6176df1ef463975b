"""Muon: momentum whose update is made orthogonal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from mnist_fast.ops import library
from mnist_fast.ops.observed import observed

# Above so many multiplications an iteration, in the product of the small square with itself and in those of the square
# and the matrix, torch's operators are no longer short beside the calls.
_MAX_MULTIPLICATIONS = 2**20
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor, steps: int) -> Tensor:
    """Push the singular values of a (rows, cols) matrix towards 1 by a quintic Newton-Schulz iteration.

    With X scaled to Frobenius norm 1 and A = X Xᵀ, each step is X ← a X + (b A + c A²) X.
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix
    x = x / (torch.linalg.vector_norm(x) + 1e-7)
    for _ in range(steps):
        gram = torch.mm(x, x.t())
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x


class Muon(torch.optim.Optimizer):
    r"""Stochastic gradient descent with Nesterov momentum whose update is orthogonalised.

    For each parameter, seen as a matrix of shape (first dimension, all the others), with gradient :math:`g`:

    .. math::
        m \leftarrow \mu m + g, \quad G = g + \mu m, \quad
        W \leftarrow (1 - \eta\lambda) W - \eta \sqrt{\max(1, rows / cols)}\; \mathrm{NS}(G / \lVert G \rVert_F)

    where :math:`\mathrm{NS}` is ``ns_steps`` Newton-Schulz steps. Source: Keller Jordan et al., "Muon: An optimizer
    for hidden layers in neural networks", 2024 (https://kellerjordan.github.io/posts/muon). ``torch.optim.Muon``
    takes matrices only; this one takes convolution filters.

    Args:
        params: parameters with at least two dimensions, or parameter groups of such.
        lr: learning rate :math:`\eta`; in a group it may be a tensor, (), as a CUDA graph needs it.
        momentum: :math:`\mu`.
        weight_decay: decoupled weight decay :math:`\lambda`.
        ns_steps: Newton-Schulz steps.
        fused: one operator of ours for the whole update, to within rounding; None: for small float32 parameters on a
            CPU, where it is built; False: torch's operators, as for all other parameters.

    Raises:
        ValueError: a value out of range, or a parameter with fewer than two dimensions.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        ns_steps: int = 5,
        *,
        fused: bool | None = None,
    ) -> None:
        if lr < 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if ns_steps < 1:
            raise ValueError(f"Invalid ns_steps value: {ns_steps}")
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "ns_steps": ns_steps, "fused": fused}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim < 2:
                raise ValueError(f"Muon needs parameters of at least two dimensions, not {tuple(parameter.shape)}")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient.

        As torch's fused optimizers do, it leaves everything as it is where a ``found_inf`` attribute, a one-element
        tensor, is not 0; that needs no synchronisation with the device.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.update(group)
        return loss

    @torch.no_grad()
    def update(self, group: dict[str, Any]) -> None:
        """:meth:`step` for one of ``param_groups``."""
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffer = state["momentum_buffer"]
            if found_inf is None:
                _update(parameter, parameter.grad, buffer, group)
                continue
            before = parameter.clone(), buffer.clone()
            _update(parameter, parameter.grad, buffer, group)
            for tensor, kept in zip((parameter, buffer), before, strict=True):
                tensor.copy_(torch.where(found_inf == 0, tensor, kept))


def _update(parameter: Tensor, gradient: Tensor, buffer: Tensor, group: dict[str, Any]) -> None:
    lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
    if group.get("fused") is not False and _is_covered(parameter, gradient, buffer):
        rate = lr.double() if isinstance(lr, Tensor) else torch.tensor(lr, dtype=torch.float64)
        torch.ops.mnist_fast.muon_(parameter, buffer, gradient, rate, momentum, decay, group["ns_steps"])
        return
    buffer.mul_(momentum).add_(gradient)
    direction = torch.add(gradient, buffer, alpha=momentum).flatten(1)
    rows, cols = direction.shape
    update = orthogonalize(direction, group["ns_steps"]).view_as(parameter)
    if decay:
        parameter.mul_(1 - lr * decay)
    rate = -lr * max(1.0, rows / cols) ** 0.5
    if isinstance(rate, Tensor):
        parameter.add_(update * rate)
    else:
        parameter.add_(update, alpha=rate)


def _is_covered(parameter: Tensor, gradient: Tensor, buffer: Tensor) -> bool:
    """Whether our operator computes this update, and faster."""
    rows = len(parameter)
    columns = parameter.numel() // max(rows, 1)
    square = min(rows, columns) ** 2
    return (
        library.missing is None
        and library.backend != "stock"
        and 0 < square * (2 * max(rows, columns) + min(rows, columns)) <= _MAX_MULTIPLICATIONS
        and all(tensor.is_cpu and tensor.dtype is torch.float32 for tensor in (parameter, gradient, buffer))
        and any(_are_dense(memory_format, parameter, gradient, buffer) for memory_format in _memory_formats(parameter))
        and not observed(parameter, gradient, buffer)
    )


def _memory_formats(parameter: Tensor) -> tuple[torch.memory_format, ...]:
    return (torch.contiguous_format, torch.channels_last) if parameter.ndim == 4 else (torch.contiguous_format,)


def _are_dense(memory_format: torch.memory_format, *tensors: Tensor) -> bool:
    return all(tensor.is_contiguous(memory_format=memory_format) for tensor in tensors)
