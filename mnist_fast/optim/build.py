"""From a recipe to optimizers."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mnist_fast.errors import UsageError
from mnist_fast.optim.muon import Muon
from mnist_fast.recipes import OPTIMIZERS, Recipe

# The search behind the speedrun recipe found three Newton-Schulz steps enough for its filters.
_NS_STEPS = 3


def build_optimizers(recipe: Recipe, model: nn.Module) -> list[Optimizer]:
    """The optimizers for the parameters of ``model`` that require gradients, each parameter in exactly one of them.

    One optimizer, or two for ``muon``: Muon for the convolution filters, AdamW for the rest, since Muon's weight decay
    is decoupled as well; at weight decay 0, the default, AdamW is Adam. Each parameter group keeps its base learning
    rate under ``initial_lr``, as torch's schedulers do.

    Raises:
        UsageError: an unknown optimizer, or nothing to train.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise UsageError("every parameter is frozen: there is nothing to train")
    # torch's fused implementations do a step in one pass over the parameters, on CPUs and GPUs.
    adam: dict[str, Any] = {"lr": recipe.lr, "betas": recipe.betas, "weight_decay": recipe.weight_decay, "fused": True}
    optimizers: list[Optimizer]
    if recipe.optimizer == "sgd":
        optimizers = [SGD(trainable, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True)]
    elif recipe.optimizer == "adam":
        optimizers = [Adam(trainable, **adam)]
    elif recipe.optimizer == "adamw":
        optimizers = [AdamW(trainable, **adam)]
    elif recipe.optimizer == "muon":
        filters = [parameter for parameter in trainable if parameter.ndim == 4]
        others = [parameter for parameter in trainable if parameter.ndim != 4]
        optimizers = [AdamW(others, **adam)] if others else []
        if filters:
            optimizers.append(Muon(filters, recipe.muon_lr, recipe.momentum, recipe.weight_decay, _NS_STEPS))
    else:
        raise UsageError(f"unknown optimizer {recipe.optimizer!r}; choose from {', '.join(OPTIMIZERS)}")
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers
