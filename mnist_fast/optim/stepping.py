"""A training step's two calls to its optimizers, without what torch wraps around them.

torch's fused kernels update a small network in 20 microseconds, and ``Optimizer.step`` spends three times that around
them: hooks, the profiler's record, sorting tensors by device and dtype. Where nothing of that is used it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from mnist_fast.optim.muon import Muon

Group = dict[str, Any]
_ONE = torch.ones(())


def clear_gradients(optimizers: Iterable[Optimizer]) -> None:
    """``zero_grad()`` of every optimizer."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None


def step(optimizers: Iterable[Optimizer]) -> None:
    """``step()`` of every optimizer, bit by bit."""
    with torch.no_grad():
        for optimizer in optimizers:
            update = _UPDATES.get(type(optimizer))
            if update is None or _is_watched(optimizer) or not _is_ordinary(optimizer):
                optimizer.step()
            else:
                for group in optimizer.param_groups:
                    update(optimizer, group)


def _is_watched(optimizer: Optimizer) -> bool:
    """Whether somebody shall be called at a step, or replaced it in the object, as torch's schedulers do."""
    return bool(
        "step" in vars(optimizer)
        or optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
        or torch.autograd.profiler._is_profiler_enabled
    )


def _is_ordinary(optimizer: Optimizer) -> bool:
    """Whether all is as in the middle of a plain run on the CPU, with state for every parameter that has a gradient."""
    return not hasattr(optimizer, "found_inf") and all(
        (type(optimizer) is Muon or _is_ordinary_group(group))
        and all(
            parameter.grad is None
            or (_is_dense(parameter) and _is_dense(parameter.grad) and optimizer.state.get(parameter))
            for parameter in group["params"]
        )
        for group in optimizer.param_groups
    )


def _is_ordinary_group(group: Group) -> bool:
    return group["fused"] and not group.get("amsgrad")


def _is_dense(tensor: Tensor) -> bool:
    return tensor.is_cpu and tensor.dtype is torch.float32 and tensor.layout is torch.strided


def _update_adam(optimizer: Optimizer, group: Group) -> None:
    parameters, gradients, states = _with_gradients(optimizer, group)
    if not parameters:
        return
    steps = [state["step"] for state in states]
    torch._foreach_add_(steps, [_ONE] * len(steps))  # a number would be made a tensor for each
    fused = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
    beta1, beta2 = group["betas"]
    fused(
        parameters,
        gradients,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [],
        steps,
        lr=group["lr"],
        beta1=beta1,
        beta2=beta2,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=group["maximize"],
    )


def _update_sgd(optimizer: Optimizer, group: Group) -> None:
    parameters, gradients, states = _with_gradients(optimizer, group)
    if not parameters:
        return
    torch._fused_sgd_(
        parameters,
        gradients,
        [state["momentum_buffer"] for state in states],
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=group["maximize"],
        is_first_step=False,
    )


def _with_gradients(optimizer: Optimizer, group: Group) -> tuple[list[Tensor], list[Tensor], list[dict[str, Any]]]:
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    return (
        parameters,
        [parameter.grad for parameter in parameters],
        [optimizer.state[parameter] for parameter in parameters],
    )


_UPDATES: dict[type, Callable[[Any, Group], None]] = {
    Adam: _update_adam,
    AdamW: _update_adam,
    SGD: _update_sgd,
    Muon: Muon.update,
}
