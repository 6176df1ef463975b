"""How networks are trained: a recipe is data. No torch here, so that help can show it.

``RECIPES`` has one for each architecture, with the numbers of the reference documents; where a document gives none, the
comment says so. ``LADDER`` has those that a search found, by what they are for.
"""

from __future__ import annotations

from dataclasses import dataclass

OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
SCHEDULES = ("constant", "step", "cosine", "one-cycle", "piecewise-linear")
NORMALIZATIONS = ("dataset", "none")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The numbers that decide what a training run learns.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step; the last batch of an epoch may be smaller.
        images_per_epoch: at most this many images of each epoch's fresh permutation; None: all.
        optimizer: one of ``OPTIMIZERS``. ``muon`` is Muon for the filters and Adam for every other parameter.
        lr: learning rate (with ``muon``: Adam's).
        muon_lr: learning rate of the filters under ``muon``.
        momentum: of ``sgd`` and ``muon``.
        betas: of ``adam``, ``adamw`` and Adam's part of ``muon``.
        backbone_lr_factor: what the learning rates of all layers but the last linear one are multiplied by.
        weight_decay: as the optimizer defines it, of parameters with two or more dimensions; biases have none.
        schedule: one of ``SCHEDULES``; see :mod:`mnist_fast.schedules`.
        warmup_steps: steps in which the learning rate rises linearly, in front of the schedule.
        accumulate: batches a step: their gradients add up to that of one batch of ``accumulate * batch_size`` images.
        clip_grad_norm: gradients are scaled down to this norm, of all of them together; None: never.
        ema: decay of the exponential moving average of the weights that is evaluated and saved; None: the weights
            themselves are.
        label_smoothing: of the cross-entropy loss in training; test losses are without.
        augment: how each training image is moved: ``none``, ``shift`` or ``affine``; see
            :func:`mnist_fast.data.augmentation.draw_transforms`.
        augment_strength: how far, from 0 to 1.
        average_views: test outputs are means over nine copies of each image, moved a little; see
            :func:`mnist_fast.evaluation.evaluate`.
        normalize: ``dataset``: (x/255 - mean) / std with the data's numbers; ``none``: x/255.
    """

    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    images_per_epoch: int | None = None
    muon_lr: float = 0.03
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    backbone_lr_factor: float = 1.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_steps: int = 0
    accumulate: int = 1
    clip_grad_norm: float | None = None
    ema: float | None = None
    label_smoothing: float = 0.0
    augment: str = "none"
    augment_strength: float = 1.0
    average_views: bool = False
    normalize: str = "dataset"


RECIPES = {
    # Document 000 names Adam only: torch's default rate; batch size, epochs and schedule are ours. At a constant rate
    # three epochs end at 98.7%, with the cosine at 99.1% (MNIST, seed 0).
    "cnn": Recipe(epochs=3, batch_size=64, optimizer="adam", lr=1e-3, schedule="cosine"),
    # Document 001 scales with ToTensor alone; its batch size is not given.
    "cnn-padded": Recipe(epochs=10, batch_size=64, optimizer="adam", lr=1e-3, normalize="none"),
    # Document 002.
    "lenet": Recipe(epochs=10, batch_size=64, optimizer="sgd", lr=1e-3, momentum=0.9),
    # Document 004. With plain torch too this rate mostly ends at chance on MNIST; --lr 0.003 learns.
    "cnn-dropout": Recipe(epochs=10, batch_size=4, optimizer="sgd", lr=1e-2, momentum=0.9),
    # github.com/tuomaso/train_mnist_fast, 8_Final. It draws one order for every run; ours draws a fresh one per seed.
    "anchor": Recipe(epochs=1, batch_size=256, optimizer="adam", lr=1e-2, betas=(0.7, 0.9), schedule="one-cycle"),
    # The cheapest way to 99% that a search found. 42,000 images are 329 steps.
    "speedrun": Recipe(
        epochs=1,
        batch_size=128,
        images_per_epoch=42_000,
        optimizer="muon",
        lr=1e-2,
        muon_lr=0.03,
        momentum=0.85,
        betas=(0.7, 0.9),
        schedule="piecewise-linear",
        label_smoothing=0.1,
    ),
    # Found on held-out training images (bench/README.md). At the rate and betas of speedrun 12 epochs are worse than 4.
    "wide": Recipe(
        epochs=3,
        batch_size=256,
        optimizer="muon",
        lr=3e-3,
        muon_lr=0.03,
        momentum=0.85,
        betas=(0.9, 0.99),
        schedule="piecewise-linear",
        label_smoothing=0.1,
        augment="affine",
    ),
    "deep": Recipe(
        epochs=12,
        batch_size=256,
        optimizer="muon",
        lr=1e-3,
        muon_lr=0.01,
        momentum=0.85,
        betas=(0.9, 0.99),
        schedule="piecewise-linear",
        label_smoothing=0.2,
        augment="affine",
        augment_strength=0.6,
        average_views=True,
    ),
}


@dataclass(frozen=True)
class Rung:
    """A recipe that goes by a name of its own, with the network that it is for.

    Attributes:
        arch: the network.
        recipe: how it is trained.
        goal: what it promises, in words for people.
    """

    arch: str
    recipe: Recipe
    goal: str


# From the fastest to the most accurate; bench/README.md has the search behind them.
LADDER = {
    "fast": Rung("speedrun", RECIPES["speedrun"], "99.0%"),
    "balanced": Rung("wide", RECIPES["wide"], "99.5%"),
    "accurate": Rung("deep", RECIPES["deep"], "99.7%"),
}

# Document 002 fine-tunes with SGD 0.001, momentum 0.9, for 10 epochs. A new head on frozen convolutions has not come
# within 0.01 of the whole lenet's 98.5% after one epoch of that (97.3%; other constant rates from 0.0003 to 0.01 are no
# better: the features are large, and a rate that learns in time throws the head about at the end). A rate that rises
# and falls within the epoch does it: 97.8% with each of three seeds.
FINETUNE_RECIPE = Recipe(epochs=1, batch_size=64, optimizer="sgd", lr=5e-3, momentum=0.9, schedule="one-cycle")
