"""Fine-tuning: a checkpoint's network with layers frozen or a new head, trained by the ordinary loop.

Document 002 freezes both convolutions of its trained network, adds ``fc4 = Linear(256, 10)`` and trains that alone with
SGD 0.001, momentum 0.9; but its forward pass never calls ``fc4``. Ours does: ``--freeze conv --head linear``.
"""

from __future__ import annotations

import fnmatch
from collections import OrderedDict
from dataclasses import replace

import torch
from torch import Tensor, nn

from mnist_fast.checkpoint import Checkpoint
from mnist_fast.config import Config
from mnist_fast.data import Dataset, batches
from mnist_fast.devices import autocast
from mnist_fast.errors import UsageError
from mnist_fast.models.heads import head_name
from mnist_fast.models.spec import NetworkSpec

# A frozen backbone's features are kept only up to this size; beyond it they are computed in each step.
_MAX_FEATURE_BYTES = 2**30
_RANDOM_IN_TRAINING = (nn.Dropout, nn.Dropout2d)


def finetuned_spec(checkpoint: Checkpoint, config: Config, dataset: Dataset) -> NetworkSpec:
    """The network that fine-tuning trains: the checkpoint's, or one with another head, for the classes of the data."""
    head = "linear" if config.head == "linear" else checkpoint.spec.head
    return replace(checkpoint.spec, head=head, num_classes=len(dataset.classes))


def load_backbone(model: nn.Module, checkpoint: Checkpoint, *, new_head: bool) -> None:
    """Give ``model`` the checkpoint's weights; a new head, its last layer, keeps its fresh ones."""
    weights = checkpoint.build().state_dict()  # through its own network: it has checked that they fit
    if new_head:
        own = model.state_dict()
        last = head_name(model)
        weights = {name: value if name.startswith(f"{last}.") else weights[name] for name, value in own.items()}
    model.load_state_dict(weights)


def freeze(model: nn.Module, what: str) -> None:
    """Take parameters out of training.

    Args:
        what: ``none``; those of the convolutions (``conv``); ``all-but-head``; or those of the layers that match one of
            several names or patterns as the shell's, with commas between.

    Raises:
        UsageError: a name or pattern that matches no layer.
    """
    layers = {name: module for name, module in model.named_modules() if [*module.parameters(recurse=False)]}
    if what == "conv":
        frozen = {name for name, module in layers.items() if isinstance(module, nn.Conv2d)}
    elif what == "all-but-head":
        frozen = layers.keys() - {head_name(model)}
    else:
        frozen = set()
        for pattern in () if what == "none" else what.split(","):
            matches = fnmatch.filter(layers, pattern.strip())
            if not matches:
                raise UsageError(f"--freeze {what}: {pattern!r} names no layer; the layers are {', '.join(layers)}")
            frozen.update(matches)
    for name in frozen:
        for parameter in layers[name].parameters(recurse=False):
            parameter.requires_grad_(False)


def split_frozen(model: nn.Module) -> tuple[nn.Sequential, nn.Sequential] | None:
    """The leading layers that are frozen and not random, and the rest; None where the first layer already trains."""
    if not isinstance(model, nn.Sequential):
        return None
    layers = list(model.named_children())
    count = 0
    for _, layer in layers:
        trains = any(parameter.requires_grad for parameter in layer.parameters())
        if trains or isinstance(layer, _RANDOM_IN_TRAINING):
            break
        count += 1
    if not any(True for _, layer in layers[:count] for _ in layer.parameters()):
        return None
    return nn.Sequential(OrderedDict(layers[:count])), nn.Sequential(OrderedDict(layers[count:]))


@torch.no_grad()
def frozen_features(
    backbone: nn.Module, images: Tensor, *, mean: float, std: float, precision: str, batch_size: int = 1000
) -> Tensor | None:
    """What a frozen backbone makes of all (N, 28, 28) uint8 images: (N, …); None where that would be too large."""
    device = images.device
    labels = torch.zeros(len(images), dtype=torch.int64, device=device)
    features: Tensor | None = None
    first = 0
    for inputs, _ in batches(images, labels, batch_size, mean=mean, std=std):
        with autocast(precision, device):
            outputs = backbone(inputs)
        if features is None:
            features = outputs.new_empty((len(images), *outputs.shape[1:]))
            if features.nbytes > _MAX_FEATURE_BYTES:
                return None
        features[first : first + len(outputs)] = outputs
        first += len(outputs)
    return features
