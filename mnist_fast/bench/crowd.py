"""Whether every thread has a core to itself at this moment.

A virtual machine's processors are often threads of cores that its host hands out: for seconds at a time two of them are
one core, or another guest works on their other halves. No counter in the machine tells. Arithmetic then takes up to
twice as long, what waits for memory hardly longer, so that ratios change as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

LIMIT = 1.5  # a crowd makes it 1.8 times as long or more, anything else rarely 1.3
FIRST_PATIENCE = 1.0  # seconds
PAUSE = 0.02  # seconds between two looks


class Crowd:
    """Looks for others on the cores by timing a piece of arithmetic, and is patient with them for a while.

    Patience is as many seconds as were measured without them, so that a benchmark takes twice as long at most.

    Args:
        arithmetic: gives the seconds that the same piece takes on all threads at each call.

    Attributes:
        rounds: measured, and kept.
        crowded: those of them with others on the cores, for whom no patience was left.
        slept: seconds spent waiting for them to go.
    """

    def __init__(self, arithmetic: Callable[[], float] | None = None) -> None:
        self._arithmetic = arithmetic or _product()
        self._least = self._arithmetic()
        self._patience = FIRST_PATIENCE
        self.rounds = self.crowded = 0
        self.slept = 0.0

    def is_here(self) -> bool:
        seconds = self._arithmetic()
        self._least = min(self._least, seconds)
        return seconds > LIMIT * self._least

    def wait(self) -> None:
        """Until they are gone, or patience is."""
        while self._patience > 0 and self.is_here():
            start = time.perf_counter()
            time.sleep(PAUSE)
            waited = time.perf_counter() - start
            self._patience -= waited
            self.slept += waited

    def spoils(self, seconds: float) -> bool:
        """Whether a round that took so many seconds is to be taken again: they came, and there is patience left."""
        here = self.is_here()
        if here and self._patience > 0:
            self._patience -= seconds
            return True
        self._patience += seconds
        self.rounds += 1
        self.crowded += here
        return False


def _product() -> Callable[[], float]:
    """Times a product of two matrices that the caches hold: nothing is short but cores."""
    matrix, result = torch.rand(256, 256), torch.empty(256, 256)

    def seconds() -> float:
        least = float("inf")
        for _ in range(3):  # the first may have to wake threads up
            start = time.perf_counter()
            torch.mm(matrix, matrix, out=result)
            least = min(least, time.perf_counter() - start)
        return least

    return seconds
