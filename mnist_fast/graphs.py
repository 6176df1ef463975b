"""CUDA graphs: a small network's step is a few dozen kernels, which take longer to start one by one than to run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

# Calls before the recording: libraries choose their algorithms, optimizers make their state.
WARM_UP_CALLS = 3


class Recorder(Protocol):
    """What can run work, and record it to be run again. :class:`CudaRecorder` is the one in use."""

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """Do the work now."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record the work without doing it; return what does it, and where its result will be each time."""


class CudaRecorder:
    """CUDA graphs. All runs on one stream of its own: what autograd has met on another one could not be recorded."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            result = work()
        return graph.replay, result


class Graphed:
    """A function of tensors that is recorded once and replayed. The first calls, and those on other shapes, run it.

    Args:
        function: must not wait for the device, and must find whatever changes between calls, beside its arguments, in
            tensors that stay in place.
        recorder: of the device's work.
        warn: told why, in one line, where recording fails; the function then goes on being run.
    """

    def __init__(self, function: Callable[..., Tensor], recorder: Recorder, warn: Callable[[str], None]) -> None:
        self._function, self._recorder, self._warn = function, recorder, warn
        self._shapes: list[torch.Size] = []  # of the first call: those that are recorded
        self._calls_before_recording = WARM_UP_CALLS
        self._arguments: tuple[Tensor, ...] = ()
        self._replay: Callable[[], None]
        self._result: Tensor

    def __call__(self, *arguments: Tensor) -> Tensor:
        """What the function returns; the next call may overwrite it."""
        shapes = [argument.shape for argument in arguments]
        self._shapes = self._shapes or shapes
        if shapes == self._shapes:
            if self._calls_before_recording == 0:
                self._record(arguments)
            self._calls_before_recording -= 1
        if shapes != self._shapes or not self._arguments:
            return self._recorder.run(lambda: self._function(*arguments))
        for recorded, argument in zip(self._arguments, arguments, strict=True):
            recorded.copy_(argument)
        self._replay()
        return self._result

    def _record(self, arguments: tuple[Tensor, ...]) -> None:
        places = tuple(torch.empty_like(argument) for argument in arguments)
        try:
            self._replay, self._result = self._recorder.record(lambda: self._function(*places))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            self._warn(f"no CUDA graph ({reason}); going on without one")
            return
        self._arguments = places
