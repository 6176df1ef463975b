"""Optimizers: Muon, the one place that builds what a recipe names, and the calls of a training step."""

from mnist_fast.optim.build import build_optimizers
from mnist_fast.optim.muon import Muon
from mnist_fast.optim.stepping import clear_gradients, step

__all__ = ["Muon", "build_optimizers", "clear_gradients", "step"]
