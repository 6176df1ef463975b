"""How sure the ratios of a comparison are, and whether other programs were in the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from mnist_fast.bench.crowd import Crowd
from mnist_fast.bench.rows import in_percent, uncertainty
from mnist_fast.bench.statistics import Visits, speedup

NARROW = 0.01  # measuring stops where more of it would change no ratio by more than 1%
WIDE = 0.05  # ratios that a repetition may find 5% away are pointed out
WAITED = 0.05  # so is a process that did not run for that share of the time
CROWDED = 0.05  # and one whose threads had less than a core each in that share of the rounds


def narrow(samples: Mapping[str, Visits], stock: Sequence[str]) -> bool:
    """Whether more visits would change the ratio of every series to the fastest of ``stock`` by :data:`NARROW` at most.

    Without a stock series among several, they are compared with each other; a single one is never narrow.
    """
    references = list(stock) or list(samples)
    estimates = [
        speedup([samples[other] for other in references if other != name] or [own], own)
        for name, own in samples.items()
        if references != [name]
    ]
    errors = [estimate.error for estimate in estimates]
    return bool(errors) and all(error is not None and error <= NARROW for error in errors)


class Waiting:
    """How much of the time inside :meth:`watched` this thread did not run.

    A benchmark on a CPU never waits by itself, but for a crowd to go: other programs had its processor, or that of the
    threads it works with, or somebody stopped it. What a virtual machine's host takes away does not show here; most of
    it shows in :mod:`mnist_fast.bench.crowd`.
    """

    def __init__(self) -> None:
        self._seconds = self._running = 0.0

    @contextmanager
    def watched(self, slept: Callable[[], float] = lambda: 0.0) -> Iterator[None]:
        """``slept``: gives the seconds for which it has chosen not to run so far."""
        seconds, running = time.perf_counter() - slept(), time.thread_time()
        yield
        self._running += time.thread_time() - running
        self._seconds += time.perf_counter() - slept() - seconds

    def fraction(self, device: torch.device) -> float | None:
        """The share of the time, 0 to 1; None on a GPU, for which the thread does wait."""
        if device.type != "cpu" or not self._seconds:
            return None
        return round(max(0.0, 1 - self._running / self._seconds), 4)


def crowded_fraction(crowds: Sequence[Crowd | None]) -> float | None:
    """The share of the rounds that were measured in a crowd, 0 to 1; None where nobody looked, as on a GPU."""
    looked = [crowd for crowd in crowds if crowd is not None]
    rounds = sum(crowd.rounds for crowd in looked)
    return round(sum(crowd.crowded for crowd in looked) / rounds, 4) if rounds else None


def notes(environment: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader must know of the noise, a line each; none where all was quiet."""
    lines = []
    errors = [error for row in rows if (error := uncertainty(row)) is not None]
    wide = sum(error > WIDE for error in errors)
    if wide:
        lines.append(
            f"{wide} of {len(errors)} ratios may differ by more than {WIDE:.0%} when measured again (the worst by "
            f"{in_percent(max(errors))}): measure on an idle machine without neighbours"
        )
    crowded = environment.get("crowded_fraction")
    if crowded is not None and crowded > CROWDED:
        lines.append(
            f"in {crowded:.0%} of the rounds the threads had less than a core each, as in a virtual machine with busy "
            "neighbours: repeat when they are quiet, or with fewer --threads"
        )
    waited = environment.get("waited_fraction")
    if waited is not None and waited > WAITED:
        lines.append(f"for {waited:.0%} of the timed seconds others had this process's processor: repeat when idle")
    elif environment["load_average"] > environment["cores"]:
        load = environment["load_average"]
        lines.append(f"other programs kept this machine busy (load average {load}): repeat when idle")
    return lines
