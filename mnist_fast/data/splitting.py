"""Which pictures are held out, for testing or for validation: the same ones every time, some of each class."""

from __future__ import annotations

import numpy as np


def held_out_indices(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draw a share of each class without replacement.

    ``RandomState`` draws the same numbers in every version of NumPy, so a split never changes.

    Args:
        labels: integers (N,).
        fraction: of each class, from 0 to below 1; rounded to whole pictures, of which every class keeps one.
        seed: an integer from 0 to 2**63 - 1.

    Returns:
        The indices drawn, int64, ascending; there may be none.
    """
    low, high = seed % 2**32, seed >> 32  # RandomState takes a large seed in words of 32 bits
    random = np.random.RandomState([low, high] if high else low)
    drawn = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        drawn.append(random.permutation(members)[: min(round(fraction * len(members)), len(members) - 1)])
    return np.sort(np.concatenate(drawn))
