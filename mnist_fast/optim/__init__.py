"""Optimizers: Muon, and the one place that builds what a recipe names."""

from mnist_fast.optim.build import build_optimizers
from mnist_fast.optim.muon import Muon

__all__ = ["Muon", "build_optimizers"]
