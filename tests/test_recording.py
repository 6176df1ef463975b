"""Functions that are recorded once and replayed, whatever records them."""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_fast.recording import WARM_UP_CALLS, Function, Recorded, Recording


class StandIn:
    """A recorder whose replays call the function, and are counted."""

    name = "stand-in"

    def __init__(self) -> None:
        self.replays = 0

    def run(self, function: Function, *arguments: Tensor) -> Tensor:
        return function(*arguments)

    def record(self, function: Function, *arguments: Tensor) -> Recording:
        def replay(*arguments: Tensor) -> Tensor:
            self.replays += 1
            return function(*arguments)

        return Recording(function(*arguments), replay)


class Broken(StandIn):
    def record(self, function: Function, *arguments: Tensor) -> Recording:
        return Recording(function(*arguments), None, "out of tape")


def nobody(reason: str) -> None:
    raise AssertionError(reason)


def test_a_recorded_function_gives_what_it_would_give() -> None:
    recorder, total = StandIn(), torch.zeros(())
    recorded = Recorded(lambda values: total.add_(values.sum()), recorder, nobody)
    for count in range(1, 8):
        assert recorded(torch.ones(2)) == 2 * count
    assert recorder.replays == 7 - WARM_UP_CALLS - 1
    assert recorded(torch.ones(3)) == 17  # another shape runs as it is
    assert recorder.replays == 7 - WARM_UP_CALLS - 1
    assert recorded(torch.ones(2)) == 19


def test_the_shapes_of_the_first_call_are_recorded() -> None:
    """Not those of an epoch's last batch, whenever it comes."""
    recorder = StandIn()
    recorded = Recorded(lambda values: values.sum(), recorder, nobody)
    sizes = [4] * WARM_UP_CALLS + [3, 4, 4, 3]
    assert [int(recorded(torch.ones(size))) for size in sizes] == sizes
    assert recorder.replays == 1


def test_what_cannot_be_recorded_runs_as_it_is() -> None:
    warnings: list[str] = []
    recorded = Recorded(lambda values: values.sum(), Broken(), warnings.append)
    assert [int(recorded(torch.tensor([count]))) for count in range(8)] == list(range(8))
    assert warnings == ["no stand-in (out of tape); going on without one"]
