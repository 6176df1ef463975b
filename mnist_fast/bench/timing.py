"""Interleaved timing and its statistics.

``torch.utils.benchmark.Timer`` measures one statement at a time, and warms it up with two or more calls before every
sample: interleaved sampling would spend most of its time there, where one call is enough. So the clock is read here:
``perf_counter`` on CPUs, where an operator returns when its result is there, and events on GPUs, where it does not.
"""

from __future__ import annotations

import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from mnist_fast.bench.crowd import Crowd

Call = Callable[[], object]
Clock = Callable[[Call, int], float]  # (call, number) -> seconds that `number` calls took together

WARM_UP_CALLS = 2
SAMPLE_SECONDS = 0.01
MIN_ROUNDS = 8
MAX_ROUNDS = 1000


@dataclass(frozen=True)
class Statistics:
    """Of the milliseconds a call took, over ``repeats`` rounds."""

    median_ms: float
    p5_ms: float
    p95_ms: float
    repeats: int

    @classmethod
    def of(cls, seconds: list[float]) -> Statistics:
        """The median and the 5th and 95th percentile (interpolated linearly) of at least one sample."""
        milliseconds = [1000 * value for value in seconds]
        twentieths = statistics.quantiles(milliseconds, n=20, method="inclusive") if len(seconds) > 1 else milliseconds
        return cls(statistics.median(milliseconds), twentieths[0], twentieths[-1], len(seconds))


def cpu_clock(call: Call, number: int) -> float:
    """Wall-clock seconds of ``number`` calls."""
    start = time.perf_counter()
    for _ in range(number):
        call()
    return time.perf_counter() - start


def cuda_clock(call: Call, number: int) -> float:
    """Seconds between two events on the current stream around ``number`` calls: work and gaps between launches."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(number):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def clock_for(device: torch.device) -> Clock:
    return cuda_clock if device.type == "cuda" else cpu_clock


def warm_up(call: Call) -> None:
    """Fill caches, allocator and, for compiled modules, the compiler's."""
    for _ in range(WARM_UP_CALLS):
        call()


def calls_per_sample(call: Call, clock: Clock) -> int:
    """How often to run ``call`` so that one sample lasts about :data:`SAMPLE_SECONDS`, far above the clock's step."""
    return max(1, math.ceil(SAMPLE_SECONDS / max(clock(call, 1), 1e-7)))


def in_turns(names: list[str]) -> Iterator[list[str]]:
    """The order of each round, without end: every name once, each round starting with the next one."""
    for shift in itertools.cycle(range(len(names))):
        yield names[shift:] + names[:shift]


def interleave(
    calls: dict[str, Call],
    clock: Clock,
    *,
    budget: float,
    at_least: int = MIN_ROUNDS,
    at_most: int = MAX_ROUNDS,
    turns: Iterator[list[str]] | None = None,
    numbers: Mapping[str, int] | None = None,
    crowd: Crowd | None = None,
) -> dict[str, list[float]]:
    """Seconds per call of each of ``calls``, one sample a round.

    In a round each one runs once; the next round starts with the next one. So a change of clock frequency or a
    neighbour's load meets all of them alike, and each follows each start of a round equally often.

    Ahead of a sample comes one call that is no part of it: it finds the caches full of what the call before worked on,
    where whoever trains a network finds that network's own.

    Args:
        calls: by name, warmed up.
        clock: measures a number of calls.
        budget: seconds of measuring, calls ahead of samples included, after which no new round starts.
        at_least, at_most: rounds to run, whatever they cost.
        turns: of :func:`in_turns`, going on where earlier rounds ended.
        numbers: calls in a sample, by name; without them they are found out.
        crowd: rounds wait until it is gone, and those that it spoils are left out, for all of ``calls`` alike.
    """
    names = list(calls)
    turns = turns or in_turns(names)
    numbers = numbers or {name: calls_per_sample(call, clock) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in names}
    spent, done = 0.0, 0
    collects_garbage = gc.isenabled()
    gc.disable()  # as timeit does: whoever happens to trigger a collection would pay for the garbage of all
    try:
        while done < at_least or (spent < budget and done < at_most):
            if crowd is not None:
                crowd.wait()
            taken: dict[str, float] = {}
            seconds = 0.0
            for name in next(turns):
                seconds += clock(calls[name], 1)
                taken[name] = clock(calls[name], numbers[name])
            seconds += sum(taken.values())
            if crowd is not None and crowd.spoils(seconds):
                continue
            for name, each in taken.items():
                samples[name].append(each / numbers[name])
            spent += seconds
            done += 1
    finally:
        if collects_garbage:
            gc.enable()
    return samples
