"""Work that is the same in every call but for the values in its tensors: recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

# Calls before the recording: libraries choose their algorithms, optimizers make their state.
WARM_UP_CALLS = 3

Function = Callable[..., Tensor]


class Recording(NamedTuple):
    """A call that was recorded.

    Attributes:
        result: of the call.
        replay: does it again, on tensors of the same shapes, whatever is in them; its result may be overwritten by the
            next replay. None: it could not be recorded.
        reason: why not, in a few words.
    """

    result: Tensor
    replay: Function | None
    reason: str = ""


class Recorder(Protocol):
    """One kind of recording: :class:`mnist_fast.graphs.CudaRecorder`, :class:`mnist_fast.tape.TapeRecorder`."""

    name: str

    def run(self, function: Function, *arguments: Tensor) -> Tensor:
        """Call it as it is, so that a later recording finds all that it needs."""

    def record(self, function: Function, *arguments: Tensor) -> Recording:
        """Call it once, recorded."""


class Recorded:
    """A function of tensors that is recorded once and replayed. The first calls, and those on other shapes, run it.

    Args:
        function: must not look at the values of its tensors, and must find whatever changes between calls, beside its
            arguments, in tensors that stay in place.
        recorder: how.
        warn: told why, in one line, where it cannot be recorded; the function then goes on being run.
    """

    def __init__(self, function: Function, recorder: Recorder, warn: Callable[[str], None]) -> None:
        self._function, self._recorder, self._warn = function, recorder, warn
        self._shapes: list[torch.Size] = []  # of the first call: those that are recorded
        self._calls_before_recording = WARM_UP_CALLS
        self._replay: Function | None = None

    def __call__(self, *arguments: Tensor) -> Tensor:
        """What the function returns; the next call may overwrite it."""
        shapes = [argument.shape for argument in arguments]
        self._shapes = self._shapes or shapes
        if shapes != self._shapes:
            return self._recorder.run(self._function, *arguments)
        if self._replay is not None:
            return self._replay(*arguments)
        self._calls_before_recording -= 1
        if self._calls_before_recording != -1:
            return self._recorder.run(self._function, *arguments)
        result, self._replay, reason = self._recorder.record(self._function, *arguments)
        if self._replay is None:
            self._warn(f"no {self._recorder.name} ({reason}); going on without one")
        return result
