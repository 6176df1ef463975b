"""CUDA graphs: a small network's step is a few dozen kernels, which take longer to start one by one than to run."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from mnist_fast.recording import Function, Recording


class CudaRecorder:
    """CUDA graphs. All runs on one stream of its own: what autograd has met on another one could not be recorded."""

    name = "CUDA graph"

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def run(self, function: Function, *arguments: Tensor) -> Tensor:
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), warnings.catch_warnings():
            # torch's optimizers advise against being capturable when they are called outside a graph.
            warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
            result = function(*arguments)
        current.wait_stream(self._stream)
        return result

    def record(self, function: Function, *arguments: Tensor) -> Recording:
        graph = torch.cuda.CUDAGraph()
        places = [torch.empty_like(argument) for argument in arguments]
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                result = function(*places)
        except RuntimeError as error:
            return Recording(self.run(function, *arguments), None, " ".join(str(error).split())[:200])

        def replay(*arguments: Tensor) -> Tensor:
            for place, argument in zip(places, arguments, strict=True):
                place.copy_(argument)
            graph.replay()
            return result

        return Recording(replay(*arguments), replay)
