"""Heads: the layers after a network's convolutions, and what fine-tuning may put in their place."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from mnist_fast.nn import Linear

HEADS = ("own", "linear")


def head_name(model: nn.Module) -> str:
    """The name of the layer that tells the classes apart: the last linear one; empty where there is none."""
    return ["", *(name for name, module in model.named_modules() if isinstance(module, nn.Linear))][-1]


def with_linear_head(model: nn.Sequential, num_classes: int) -> nn.Sequential:
    """``model`` up to its ``flatten``, and one new linear layer from those features to the classes.

    The layer is named as the next one in the document's count: ``fc4`` for ``lenet``, as in document 002, ``fc3`` for
    the networks with two. Unlike there, it is in the forward pass. The layers before it are the very same modules.
    """
    layers = OrderedDict(model.named_children())
    linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
    first = layers[linear[0]]
    assert isinstance(first, nn.Linear)
    names = list(layers)
    kept = OrderedDict((name, layers[name]) for name in names[: names.index("flatten") + 1])
    kept[f"fc{len(linear) + 1}"] = Linear(first.in_features, num_classes)
    return nn.Sequential(kept)
