"""What nvcc makes of the CUDA kernels, for every architecture: their registers, and that none is spilled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from simt_program import ARITHMETICS, CHECKOUT

NVCC = shutil.which("nvcc") or shutil.which("nvcc", path=f"{os.environ.get('CUDA_HOME', '/usr/local/cuda')}/bin")
ARCHITECTURES = ("80", "90", "100", "120")

# The most registers of a thread on any architecture, as nvcc 13.0 takes them. Four blocks of both convolutions, of 128
# threads each, fit into a multiprocessor's 65536 registers up to 128, one of the weight gradient's 384 up to 168, and
# two of the direct one's 256 up to 128.
MOST_REGISTERS = {
    "convolution": {"bfloat16": 128, "float16": 128, "tf32": 112, "float32": 128},
    "weight_gradient": {"bfloat16": 148, "float16": 148, "tf32": 150, "float32": 153},
    "direct_convolution": {"bfloat16": 116, "float16": 116, "float32": 118},  # tf32 takes those of float32
    "direct_weight_gradient": {"bfloat16": 128, "float16": 128, "float32": 128},
    "pack": dict.fromkeys(ARITHMETICS, 26),
    "reduce": dict.fromkeys(ARITHMETICS, 40),
}

pytestmark = pytest.mark.skipif(NVCC is None, reason="needs nvcc")


def known() -> list[str]:
    listed = subprocess.run([str(NVCC), "--list-gpu-code"], capture_output=True, text=True, check=True).stdout.split()
    return [architecture for architecture in ARCHITECTURES if f"sm_{architecture}" in listed]


# By a kernel's name and architecture, for each of its instances: registers of a thread, and bytes that it spills.
Usage = dict[tuple[str, str], list[tuple[int, int]]]


def compile_for(folder: Path, arithmetic: str, architectures: list[str]) -> Usage:
    codes = ",".join(f"sm_{architecture}" for architecture in architectures)
    result = subprocess.run(
        [
            str(NVCC), "-std=c++17", "-O3", "-I", CHECKOUT / "csrc", "-Xptxas", "-v", "-c",
            f"-gencode=arch=compute_{ARCHITECTURES[0]},code=[{codes}]",
            CHECKOUT / "csrc" / "cuda" / f"{arithmetic}.cu", "-o", folder / "kernels.o",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    found: Usage = {}
    kernel = spilled = None
    for line in result.stderr.splitlines():
        if match := re.search(r"Compiling entry function '_ZN10mnist_fast4cuda\d+([a-z_]+)I\w*' for 'sm_(\d+)'", line):
            kernel = match.groups()
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = sum(map(int, match.groups()))
        elif (match := re.search(r"Used (\d+) registers", line)) and kernel is not None and spilled is not None:
            found.setdefault(kernel, []).append((int(match[1]), spilled))
            kernel = spilled = None
    return found


def check(folder: Path, arithmetic: str, architectures: list[str]) -> None:
    found = compile_for(folder, arithmetic, architectures)
    kernels = [kernel for kernel, limits in MOST_REGISTERS.items() if arithmetic in limits]
    assert set(found) == {(kernel, a) for kernel in kernels for a in architectures}
    for (kernel, architecture), instances in found.items():
        for registers, spilled in instances:
            print(f"{arithmetic} {kernel} sm_{architecture}: {registers} registers")
            assert spilled == 0, f"{kernel} for {arithmetic} on sm_{architecture} spills {spilled} bytes"
            limit = MOST_REGISTERS[kernel][arithmetic]
            where = f"{kernel} for {arithmetic} on sm_{architecture}"
            assert registers <= limit, f"{where} takes {registers} registers, recorded {limit}"


def test_one_arithmetic_for_one_architecture(tmp_path: Path) -> None:
    check(tmp_path, "bfloat16", ["90"])


@pytest.mark.long
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_every_kernel_for_every_architecture(tmp_path: Path, arithmetic: str) -> None:
    architectures = known()
    assert architectures
    check(tmp_path, arithmetic, architectures)
