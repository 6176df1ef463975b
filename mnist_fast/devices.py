"""Where a run computes and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

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
    index = torch.device(name).index or 0
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
