"""The samples of one comparison, taken in several visits that are spread over the whole benchmark.

What changes within minutes (neighbours of a virtual machine, clock frequency) changes little within the seconds that a
comparison takes. In one go, it would know nothing of that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mnist_fast.bench import timing
from mnist_fast.bench.crowd import Crowd
from mnist_fast.bench.timing import Call, Clock

VISITS = 6
FIRST_LOOK = 4  # with fewer visits, a few lucky ones look like certainty


class Visits:
    """Several calls, measured in turns.

    Args:
        names: of the calls.
        budget: seconds of measuring in all visits together (but there are :data:`timing.MIN_ROUNDS` rounds).
        repeats: rounds of all visits together, whatever they cost.

    Attributes:
        samples: by name, for each visit its samples, in seconds for a call.
    """

    def __init__(self, names: Sequence[str], *, budget: float, repeats: int | None = None) -> None:
        self.samples: dict[str, list[list[float]]] = {name: [] for name in names}
        self._turns = timing.in_turns(list(names))
        self._budget = budget if repeats is None else 0.0
        self._repeats = repeats
        self._numbers: dict[str, int] = {}
        self._spent = 0.0

    def rounds(self, number: int) -> int:
        """How many rounds the visit with this number, from 0 on, has at least."""
        total = self._repeats or timing.MIN_ROUNDS
        return _share(total, number + 1) - _share(total, number)

    def visit(self, number: int, calls: dict[str, Call], clock: Clock, crowd: Crowd | None = None) -> None:
        """Take the samples of the visit with this number. ``calls`` may be others at each visit; they are warmed up."""
        if number == 0:
            for call in calls.values():
                timing.warm_up(call)
            self._numbers = {name: timing.calls_per_sample(call, clock) for name, call in calls.items()}
        least = self.rounds(number)
        most = least if self._repeats else max(least, timing.MAX_ROUNDS // VISITS)
        # What earlier visits took too long, their last round not being broken off, this one has less.
        budget = self._budget * (number + 1) / VISITS - self._spent
        measured = timing.interleave(
            calls,
            clock,
            budget=budget,
            at_least=least,
            at_most=most,
            turns=self._turns,
            numbers=self._numbers,
            crowd=crowd,
        )
        for name, samples in measured.items():
            self.samples[name].append(samples)
            self._spent += sum(samples) * (self._numbers[name] + 1)  # and the calls ahead of them


def _share(total: int, visits: int) -> int:
    """How much of ``total`` the first ``visits`` have, the earlier ones more where it does not divide."""
    return math.ceil(total * visits / VISITS)
