"""Where a run computes and in which precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from mnist_fast.backend import backend_info
from mnist_fast.errors import UsageError

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``cuda:INDEX`` means here.

    Raises:
        UsageError: a CUDA device that is not there, with the reason; it never falls back to the CPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if torch.version.cuda is None:
        raise UsageError(f"--device {name}: this torch ({torch.__version__}) is built without CUDA; use --device cpu")
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or count == 0:
        raise UsageError(f"--device {name}: torch finds no NVIDIA GPU or no driver for it; use --device cpu")
    index = torch.device(name).index
    if index is None:
        return torch.device("cuda", torch.cuda.current_device())
    if index >= count:
        raise UsageError(f"--device {name}: there is no such GPU; this machine has cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)


def check_precision(precision: str, device: torch.device) -> None:
    """Raises UsageError for a precision the device does not train in."""
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16 needs a GPU; on the CPU use --precision bf16")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UsageError(f"--precision bf16: {torch.cuda.get_device_name(device)} does not support it; use fp16")


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of the forward pass: autocast for bf16 and fp16, nothing for fp32."""
    if precision not in _AUTOCAST:
        return nullcontext()
    return torch.autocast(device.type, _AUTOCAST[precision])


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """While it is entered and ``wanted``: torch refuses operations whose results may differ from run to run.

    Ours do not, on any device, and none is refused on the CPU. On a GPU cuBLAS is told to use a fixed workspace, which
    works only before its first call in the process.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextmanager
def repeatable_convolutions() -> Iterator[None]:
    """While it is entered, stock convolutions on a GPU take only algorithms whose results are the same in every run."""
    before = torch.backends.cudnn.deterministic
    # Not cudnn.flags(), which would set what it is not told about as well, such as whether TF32 is allowed.
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def synchronize(device: torch.device) -> None:
    """Wait until the device has done its work, so that a clock read afterwards is true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def environment(device: torch.device) -> dict[str, str]:
    """What the last bits of a result depend on, beside the configuration."""
    return {
        "torch": str(torch.__version__),  # it is a str of a class of its own, which no state file may hold
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": str(torch.get_num_threads()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "kernels": kernels_in_use(device)[0],
    }


def kernels_in_use(device: torch.device) -> tuple[str, str | None]:
    """What fused blocks run through on a device.

    Returns:
        The instruction set of the kernels, or ``stock`` where the blocks run through torch's own operators, and why.
    """
    info = backend_info()
    if info["backend"] == "stock":
        return "stock", "MNIST_FAST_BACKEND=stock"
    part = info[device.type]
    if not part["available"]:
        return "stock", part["reason"]
    return (part["isa"] if device.type == "cpu" else device.type), None
