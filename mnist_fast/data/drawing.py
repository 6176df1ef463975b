"""Random numbers that depend on what they are for and on nothing else."""

from __future__ import annotations

import hashlib

import torch


def generator(*purpose: object) -> torch.Generator:
    """A generator on the CPU whose numbers are a function of ``purpose``: a seed, an epoch, what is drawn."""
    digest = hashlib.sha256(" ".join(map(str, purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
