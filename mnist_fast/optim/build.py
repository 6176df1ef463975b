"""From a recipe to optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mnist_fast.errors import UsageError
from mnist_fast.models.heads import head_name
from mnist_fast.optim.muon import Muon
from mnist_fast.recipes import OPTIMIZERS, Recipe

# The search behind the speedrun recipe found three Newton-Schulz steps enough for its filters.
_NS_STEPS = 3


def build_optimizers(recipe: Recipe, model: nn.Module) -> list[Optimizer]:
    """The optimizers for the parameters of ``model`` that require gradients, each parameter in exactly one of them.

    One optimizer, or two for ``muon``: Muon for the convolution filters, AdamW for the rest, since Muon's weight decay
    is decoupled as well; at weight decay 0, the default, AdamW is Adam. Parameters that share a learning rate and a
    weight decay share a group: biases, and all other parameters of one dimension, never decay, and the layers before
    the head may have a rate of their own. Each group keeps its base learning rate under ``initial_lr``, as torch's
    schedulers do.

    Raises:
        UsageError: an unknown optimizer, or nothing to train.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trainable:
        raise UsageError("every parameter is frozen: there is nothing to train")
    head = head_name(model)
    # torch's fused implementations do a step in one pass over the parameters, on CPUs and GPUs.
    adam: dict[str, Any] = {"betas": recipe.betas, "fused": True}
    groups = _groups(trainable, recipe, head, recipe.lr)
    optimizers: list[Optimizer]
    if recipe.optimizer == "sgd":
        optimizers = [SGD(groups, momentum=recipe.momentum, fused=True)]
    elif recipe.optimizer == "adam":
        optimizers = [Adam(groups, **adam)]
    elif recipe.optimizer == "adamw":
        optimizers = [AdamW(groups, **adam)]
    elif recipe.optimizer == "muon":
        filters = {name: parameter for name, parameter in trainable.items() if parameter.ndim == 4}
        others = {name: parameter for name, parameter in trainable.items() if parameter.ndim != 4}
        optimizers = [AdamW(_groups(others, recipe, head, recipe.lr), **adam)] if others else []
        if filters:
            filter_groups = _groups(filters, recipe, head, recipe.muon_lr)
            optimizers.append(Muon(filter_groups, momentum=recipe.momentum, ns_steps=_NS_STEPS))
    else:
        raise UsageError(f"unknown optimizer {recipe.optimizer!r}; choose from {', '.join(OPTIMIZERS)}")
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _groups(parameters: Mapping[str, nn.Parameter], recipe: Recipe, head: str, lr: float) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        rate = lr if name.startswith(f"{head}.") else lr * recipe.backbone_lr_factor
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]
