"""The machine and the software a benchmark ran on: a number without them says little."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from typing import Any

import torch

from mnist_fast.backend import backend_info
from mnist_fast.machine import cores, memory_bytes, processor
from mnist_fast.version import __version__


def environment(device: torch.device) -> dict[str, Any]:
    """What identifies a measurement, ready for JSON. Memory is in bytes, the date in UTC."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": memory_bytes(),
        "load_average": round(os.getloadavg()[0], 2),  # of the minute before: whether the machine was busy
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "os": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mnist_fast": __version__,
        "backend": backend_info(),
    }
