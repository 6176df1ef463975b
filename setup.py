"""Builds the kernels with CMake (CMakeLists.txt lists the sources) and records what was built, and what not and why.

Environment: ``MNIST_FAST_CPU=auto|0|1`` and ``MNIST_FAST_CUDA=auto|0|1``. "auto" builds what it finds the compiler for;
a part that cannot be built is recorded for ``mnist-fast doctor`` and the package runs on stock operators; "1" makes
that an error; "0" leaves the part out. ``TORCH_CUDA_ARCH_LIST`` as in torch's own extensions.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "build_backend"))

from target_torch import build_torch, target_torch  # noqa: E402

# A directory of its own for every build: what an earlier one left behind must not end up in a wheel.
BUILD_DIR = Path(tempfile.mkdtemp(prefix="mnist_fast_build_"))
atexit.register(shutil.rmtree, BUILD_DIR, ignore_errors=True)

CURRENT_ARCHITECTURES = (80, 90, 100, 120)


class BuildError(Exception):
    """One line: why a part of the build is not possible here."""


class CMakeBuild(build_ext):
    def run(self) -> None:
        package = ROOT if self.inplace or self.editable_mode else Path(self.build_lib).resolve()
        destination = package / "mnist_fast" / "_lib"
        shutil.rmtree(destination, ignore_errors=True)
        destination.mkdir(parents=True)
        info: dict[str, str] = {}
        self.build_part("CPU", lambda: build_cpu(destination, info), info)
        self.build_part("CUDA", lambda: build_cuda(destination, info), info)
        (destination / "build_info.json").write_text(json.dumps(info, indent=2) + "\n")

    def build_part(self, name: str, build: object, info: dict[str, str]) -> None:
        choice = os.environ.get(f"MNIST_FAST_{name}", "auto")
        if choice not in ("auto", "0", "1"):
            sys.exit(f"error: MNIST_FAST_{name}={choice}: choose auto, 0 or 1")
        if choice == "0":
            info[f"{name.lower()}_error"] = f"left out by MNIST_FAST_{name}=0"
            return
        try:
            build()  # type: ignore[operator]
        except BuildError as error:
            if choice == "1":
                sys.exit(f"error: MNIST_FAST_{name}=1: {error}")
            info[f"{name.lower()}_error"] = str(error)
            self.warn(f"mnist_fast is installed without its {name} kernels: {error}")

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


def build_cpu(destination: Path, info: dict[str, str]) -> None:
    compiler = os.environ.get("CXX") or next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None or shutil.which(compiler.split()[0]) is None:
        raise BuildError("no C++ compiler was found; install g++ and run pip install again")
    torch = build_torch()
    if torch is None:
        raise BuildError("no torch >= 2.10 was found to build against")
    import pybind11

    info["torch"] = torch.version
    info["compiler"] = output([*compiler.split(), "--version"]).splitlines()[0]
    cmake(
        "cpu",
        destination,
        f"-DMNIST_FAST_TORCH_DIR={torch.directory}",
        "-DMNIST_FAST_PYTHON=ON",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        f"-DPython_EXECUTABLE={sys.executable}",
    )


def build_cuda(destination: Path, info: dict[str, str]) -> None:
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")
    if nvcc is None:
        raise BuildError("nvcc was not found; install the CUDA toolkit (or set CUDA_HOME) and run pip install again")
    release = re.search(r"release ([\d.]+)", output([nvcc, "--version"]))
    architectures = cuda_architectures(nvcc)
    torch = build_torch()
    if torch is None:
        raise BuildError("no torch >= 2.10 was found to build against")
    cmake(
        "cuda",
        destination,
        f"-DMNIST_FAST_TORCH_DIR={torch.directory}",
        "-DMNIST_FAST_CUDA=ON",
        f"-DCMAKE_CUDA_COMPILER={nvcc}",
        f"-DMNIST_FAST_CUDA_ARCHITECTURES={architectures}",
    )
    info["nvcc"] = release.group(1) if release else "unknown"


def cuda_architectures(nvcc: str) -> str:
    """Those to build machine code for, the oldest first."""
    asked = os.environ.get("TORCH_CUDA_ARCH_LIST", "").replace(";", " ").split()
    if asked:
        # No kernel uses what only a suffix ("9.0a") would give, and PTX is always there.
        names = [re.fullmatch(r"(\d+)\.(\d+)[af]?(\+PTX)?", name) for name in asked]
        if not all(names):
            raise BuildError(f"TORCH_CUDA_ARCH_LIST={' '.join(asked)}: give numbers such as '8.0 9.0+PTX'")
        numbers = {int(name[1] + name[2]) for name in names if name}
        if min(numbers) < CURRENT_ARCHITECTURES[0]:
            raise BuildError(f"TORCH_CUDA_ARCH_LIST={' '.join(asked)}: the kernels need 8.0 or newer")
        return ";".join(map(str, sorted(numbers)))
    known = {int(number) for number in re.findall(r"compute_(\d+)", output([nvcc, "--list-gpu-arch"]))}
    current = [architecture for architecture in CURRENT_ARCHITECTURES if architecture in known]
    if not current:
        raise BuildError(f"{nvcc} knows none of the architectures {CURRENT_ARCHITECTURES}")
    return ";".join(map(str, current))


def cmake(part: str, destination: Path, *definitions: str) -> None:
    build = BUILD_DIR / part
    run(["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", f"-DCMAKE_INSTALL_PREFIX={destination}", *definitions])
    run(["cmake", "--build", build, "--target", f"mnist_fast_{part}"])
    run(["cmake", "--install", build, "--component", part])


def run(command: list[object]) -> None:
    result = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    sys.stdout.write(result.stdout)
    if result.returncode != 0:
        complaints = [line for line in result.stdout.splitlines() if re.search(r"\berror\b", line, re.IGNORECASE)]
        first = (complaints or result.stdout.splitlines() or ["no output"])[0].strip()
        raise BuildError(f"`{command[0]}` failed ({first}); see all of it with `pip install -v .`")


def output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def requirements() -> list[str]:
    needed = [
        "torch>=2.10",
        "numpy",
        "click>=8.1",
        "rich>=13",
        "safetensors>=0.4.3",
        "filelock>=3.12",
        "platformdirs>=4",
        "pooch>=1.8",
        "scikit-learn>=1.3",
        "pillow>=10.1",
        "scipy>=1.10",
        "matplotlib>=3.8",
        "tomli-w>=1",
        'tomli>=2; python_version < "3.11"',
    ]
    # Beside a torch that is there already, pip might satisfy torchvision by replacing that torch. Without torchvision
    # all works but the download of the rarer datasets, which says so.
    torch = target_torch()
    if torch is None or torch.torchvision:
        needed.append("torchvision")
    return needed


setup(
    install_requires=requirements(),
    ext_modules=[Extension("mnist_fast._lib._core", [])],
    cmdclass={"build_ext": CMakeBuild},
    options={"build": {"build_base": str(BUILD_DIR / "setuptools")}},
)
