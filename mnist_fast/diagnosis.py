"""What ``mnist-fast doctor`` finds: versions, kernels, the data, and advice about what is missing."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import torch

from mnist_fast.backend import backend_info
from mnist_fast.data import default_data_dir
from mnist_fast.machine import cores, memory_bytes, processor


def diagnose() -> dict[str, Any]:
    """Facts by topic, as JSON-able values, and ``advice``: one line for each thing that could be better."""
    info = backend_info()
    torchvision, torchvision_error = _torchvision()
    facts: dict[str, Any] = {
        "mnist_fast": info["version"],
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{processor()}, {cores()} cores, {memory_bytes() / 2**30:.0f} GiB",
        "torch": f"{info['torch']} (built against {info['built_with_torch'] or 'none'})",
        "torchvision": torchvision or f"does not load: {torchvision_error}",
        "compiler": info["cpu"]["compiler"] or "none recorded",
        "cpu_kernels": _cpu_line(info["cpu"]),
        "cuda_kernels": _cuda_line(info["cuda"]),
        "threads": f"{torch.get_num_threads()} (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')})",
        "data_dir": str(default_data_dir()),
        "environment": {name: value for name, value in os.environ.items() if name.startswith("MNIST_FAST_")},
    }
    return facts | {"advice": _advice(info, torchvision_error)}


def report(facts: dict[str, Any]) -> str:
    """The facts as aligned lines of text."""
    lines = []
    for name, value in facts.items():
        if name == "environment":
            value = ", ".join(f"{key}={setting}" for key, setting in value.items()) or "no MNIST_FAST_* variable is set"
        if name != "advice":
            lines.append(f"{name.replace('_', ' '):<14}{value}")
    return "\n".join(lines + [f"advice        {line}" for line in facts["advice"]])


def _torchvision() -> tuple[str | None, str | None]:
    try:
        import torchvision
    except Exception as error:  # torchvision built for another torch fails with RuntimeError, not ImportError
        return None, str(error).splitlines()[0]
    return torchvision.__version__, None


def _cpu_line(cpu: dict[str, Any]) -> str:
    if not cpu["available"]:
        return f"missing: {cpu['reason']}"
    return f"{cpu['isa']} (this machine runs {', '.join(cpu['isas'])})"


def _cuda_line(cuda: dict[str, Any]) -> str:
    built = f"built for {', '.join(cuda['architectures'])}" if cuda["architectures"] else "built"
    state = built if cuda["built"] else "not built"
    return state if cuda["reason"] is None else f"{state}; not active: {cuda['reason']}"


def _advice(info: dict[str, Any], torchvision_error: str | None) -> list[str]:
    advice = []
    if info["cpu"]["reason"] is not None:
        advice.append("the kernels are missing, so everything runs on stock PyTorch; mend the reason and reinstall")
    if info["backend"] == "stock":
        advice.append("MNIST_FAST_BACKEND=stock turns the kernels off; unset it")
    if torchvision_error is not None and "torchvision::nms" in torchvision_error:
        advice.append(
            "torch and torchvision come from different builds (CPU and CUDA); install both from the same index"
        )
    elif torchvision_error is not None:
        advice.append("torchvision is needed to download EMNIST, QMNIST and USPS; install the one for your torch")
    return advice
