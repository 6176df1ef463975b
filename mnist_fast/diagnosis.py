"""What ``mnist-fast doctor`` finds: versions, kernels, threads, the data, and advice about what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mnist_fast.backend import backend_info
from mnist_fast.data import DATASET_NAMES, default_data_dir
from mnist_fast.data.reading import missing_files
from mnist_fast.machine import cores, cpu_quota, distribution, memory_bytes, processor
from mnist_fast.ops import library

_PACKAGES = ("numpy", "scipy", "pillow", "safetensors", "scikit-learn", "click")
_VARIABLES = ("MNIST_FAST_", "OMP_", "KMP_", "GOMP_", "MKL_NUM", "CUDA_VISIBLE", "LD_PRELOAD", "TORCH_CUDA_ARCH")
# What torch and torchvision of different builds have been seen to say.
_MISFITS = ("torchvision::", "CUDA", "undefined symbol", "cannot open shared object")
_NO_DATA_OF_THEIR_OWN = ("auto", "digits")


def diagnose() -> dict[str, Any]:
    """Facts by topic, as JSON-able values, and ``advice``: one line for each thing that could be better.

    The user's home directory is written ``~`` in all of them, so that a bug report does not give a name away.
    """
    info, built = backend_info(), library.build_info()
    torchvision, torchvision_advice = _torchvision()
    data_dir = default_data_dir()
    datasets = [
        name for name in DATASET_NAMES if name not in _NO_DATA_OF_THEIR_OWN and not missing_files(name, data_dir)
    ]
    facts: dict[str, Any] = {
        "mnist_fast": info["version"],
        "installed_in": str(library.DIRECTORY.parent),
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{distribution()}, {platform.platform()}",
        "processor": f"{processor()}, {memory_bytes() / 2**30:.0f} GiB",
        "torch": f"{info['torch']}, {_torch_build()} (kernels built against {info['built_with_torch'] or 'none'})",
        "torchvision": torchvision,
        "packages": ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES),
        "compiler": _compiler(built),
        "cpu_kernels": _cpu_line(info["cpu"]),
        "cuda_kernels": _cuda_line(info["cuda"]),
        "gpus": _gpus(),
        "threads": _threads(),
        "data_dir": str(data_dir),
        "datasets": ", ".join(datasets) or "none on disk but scikit-learn's digits",
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)},
    }
    advice = [*_kernel_advice(info), *_thread_advice(), *filter(None, [torchvision_advice])]
    if "mnist" not in datasets:
        advice.append(
            "MNIST is not in data_dir; `mnist-fast data fetch mnist` brings it, MNIST_FAST_DATA names another"
        )
    return _without_home(facts | {"advice": advice})


def report(facts: dict[str, Any]) -> str:
    """The facts as aligned lines of text."""
    lines = []
    for name, value in facts.items():
        if name == "environment":
            value = ", ".join(f"{key}={setting}" for key, setting in value.items()) or "no variable that matters is set"
        if name != "advice":
            lines.append(f"{name.replace('_', ' '):<14}{value}")
    return "\n".join(lines + [f"advice        {line}" for line in facts["advice"]])


def _without_home(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_home(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_home(inner) for inner in value]
    home = str(Path.home())
    return value.replace(f"{home}/", "~/") if isinstance(value, str) and home != "/" else value


def _torch_build() -> str:
    if torch.version.cuda is not None:
        return f"CUDA {torch.version.cuda}"
    return f"ROCm {torch.version.hip}" if torch.version.hip is not None else "CPU only"


def _torchvision() -> tuple[str, str | None]:
    """The line about torchvision, and advice where it is needed."""
    try:
        import torchvision
    except ModuleNotFoundError as error:
        if error.name == "torchvision":
            return (
                "not installed",
                "torchvision is needed to download EMNIST, QMNIST and USPS; install the one for your torch",
            )
        fault = str(error)
    except Exception as error:  # torchvision built for another torch fails with RuntimeError, not ImportError
        fault = " ".join(str(error).split()) or type(error).__name__
    else:
        ours, theirs = (version.partition("+")[2] for version in (torch.__version__, torchvision.__version__))
        if not ours or not theirs or ours == theirs:
            return torchvision.__version__, None
        return torchvision.__version__, _misfit(f"one is a build for {ours}, the other for {theirs}")
    line = f"does not load: {fault}"
    if any(sign in fault for sign in _MISFITS):
        return line, _misfit("torchvision does not load")
    return line, "torchvision does not load; EMNIST, QMNIST and USPS cannot be downloaded until it is installed anew"


def _misfit(how: str) -> str:
    return (
        f"torch and torchvision come from different builds ({how}); "
        "install both in one command from one index: https://pytorch.org/get-started/locally"
    )


def _compiler(built: dict[str, Any]) -> str:
    if "compiler" in built:
        return built["compiler"] + (f", nvcc {built['nvcc']}" if "nvcc" in built else "")
    here = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    return f"none recorded; here is {here or 'none'}"


def _cpu_line(cpu: dict[str, Any]) -> str:
    if not cpu["available"]:
        return f"missing: {cpu['reason']}"
    return f"{cpu['isa']} (this machine runs {', '.join(cpu['isas'])})"


def _cuda_line(cuda: dict[str, Any]) -> str:
    built = f"built for {', '.join(cuda['architectures'])}" if cuda["architectures"] else "built"
    state = built if cuda["built"] else "not built"
    return state if cuda["reason"] is None else f"{state}; not active: {cuda['reason']}"


def _gpus() -> str:
    if not torch.cuda.is_available():
        return "none that torch can use"
    properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return ", ".join(f"{gpu.name} ({gpu.major}.{gpu.minor}, {gpu.total_memory / 2**30:.0f} GiB)" for gpu in properties)


def _threads() -> str:
    quota = cpu_quota()
    limit = "" if quota is None else f", of which a control group allows {quota:g}"
    return (
        f"{torch.get_num_threads()} for an operator, {torch.get_num_interop_threads()} between operators "
        f"(OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}); "
        f"{cores()} of {os.cpu_count()} cores for this process{limit}"
    )


def _thread_advice() -> list[str]:
    quota = cpu_quota()
    available = cores() if quota is None else min(cores(), max(1, int(quota)))
    if torch.get_num_threads() <= available:
        return []
    return [
        f"{torch.get_num_threads()} threads share {available} cores, which slows all; set OMP_NUM_THREADS={available}"
    ]


def _kernel_advice(info: dict[str, Any]) -> list[str]:
    advice = []
    if info["cpu"]["reason"] is not None:
        advice.append("the kernels are missing, so everything runs on stock PyTorch; mend the reason and reinstall")
    if info["backend"] == "stock":
        advice.append("MNIST_FAST_BACKEND=stock turns the kernels off; unset it")
    if torch.cuda.is_available() and info["cuda"]["reason"] is not None:
        advice.append("CUDA tensors run on stock PyTorch, see cuda kernels; mend the reason and reinstall")
    if torch.version.cuda is None and Path("/proc/driver/nvidia/version").exists():
        advice.append("there is an NVIDIA GPU, but torch is no CUDA build; install one to use it")
    return advice
