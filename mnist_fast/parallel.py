"""Several processes that train one network together, as ``torchrun`` starts them. One process alone is a group of one.

Every process takes each ``world``-th image of a step, so a step sees the images that one process would have given it,
and its gradient is the same mean over them. Only the first process writes and reports.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mnist_fast.errors import MnistFastError, UsageError


class LostProcessError(MnistFastError):
    """Another process of the run has ended."""


@dataclass(frozen=True)
class Workers:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: the number of this process, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is but this process; then nothing below costs anything."""
        return self.world == 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, written into ``tensor``."""
        if not self.alone:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, number: int, device: torch.device) -> int:
        """The largest of the numbers that the processes bring, so that all of them act alike."""
        if self.alone:
            return number
        value = torch.tensor(number, device=device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def from_first(self, value: Any) -> Any:
        """What the first process brings: plain values and tensors, nested."""
        values = [value]
        if not self.alone:
            dist.broadcast_object_list(values)
        return values[0]

    def collect(self, value: Any) -> list[Any]:
        """What each process brings, by rank."""
        values = [value] * self.world
        if not self.alone:
            dist.all_gather_object(values, value)
        return values

    def share(self, tensor: Tensor) -> Tensor:
        """The rows that are this process's: every ``world``-th, from its rank on."""
        return tensor if self.alone else tensor[self.rank :: self.world]

    def whole(self, share: Tensor, rows: int) -> Tensor:
        """All ``rows`` rows, from every process's :meth:`share` of them."""
        if self.alone:
            return share
        full = share.new_zeros((rows, *share.shape[1:]))
        full[self.rank :: self.world] = share
        return self.sum(full)


ALONE = Workers()


@contextmanager
def joined(device: str) -> Iterator[Workers]:
    """Join the other processes that ``torchrun`` has started, if it has; leave them at the end.

    A process gets the GPU of its number on its machine. On the CPU the machine's cores are divided among its processes,
    unless ``OMP_NUM_THREADS`` asks for more than the one thread that ``torchrun`` sets by itself.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``, as :func:`~mnist_fast.devices.resolve_device` takes it afterwards.

    Raises:
        UsageError: there are fewer GPUs than processes, or one GPU is named for all.
        LostProcessError: on leaving, in place of torch's error where another process has ended.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE
        return
    rank, local_world = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if device.startswith("cuda:"):
        raise UsageError(f"--device {device}: each of the {world} processes needs a GPU of its own; use --device cuda")
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        count = torch.cuda.device_count()
        if count < local_world:
            raise UsageError(f"{local_world} processes need as many GPUs, and this machine has {count}; --device cpu")
        torch.cuda.set_device(rank)
    elif os.environ.get("OMP_NUM_THREADS", "1") == "1":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // local_world))
    try:
        dist.init_process_group("nccl" if cuda else "gloo")
        yield Workers(dist.get_rank(), world)
    except (dist.DistError, RuntimeError) as error:
        if not _is_lost(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise LostProcessError(f"another process of this run has ended ({reason}); continue with --resume") from None
    finally:
        if dist.is_initialized():
            # DistributedDataParallel lies in reference cycles and holds the group, whose threads would then outlive it
            # and could meet an interpreter that is shutting down.
            gc.collect()
            dist.destroy_process_group()


def _is_lost(error: Exception) -> bool:
    """Whether the error is of the connection to the others; gloo raises RuntimeError and tells it in words only."""
    return isinstance(error, dist.DistError) or any(
        words in str(error) for words in ("gloo", "Connection", "NCCL", "Socket", "closed by peer")
    )


def parallel(module: nn.Module, workers: Workers) -> nn.Module:
    """``module`` whose backward pass averages the gradients over all processes; itself where there is but one."""
    if workers.alone:
        return module
    return nn.parallel.DistributedDataParallel(module, gradient_as_bucket_view=True)


def unsynchronized(module: nn.Module) -> AbstractContextManager[None]:
    """While it is entered, backward passes through what :func:`parallel` gave leave the gradients unaveraged."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return module.no_sync()
    return nullcontext()
