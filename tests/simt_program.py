"""Builds and runs tests/simt: the CUDA kernels on the CPU (tests/simt/README.md)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from cases import Block

CHECKOUT = Path(__file__).resolve().parent.parent
ARITHMETICS = ("bfloat16", "float16", "tf32", "float32")
SCHEDULES = ("in-order", "reversed", "random", "starve")
LAYOUTS = ("channels_last", "contiguous", "views")


def build(folder: Path, *definitions: str, source: Path = CHECKOUT) -> Path:
    """The program. Unoptimised it would run three times as long, and with -O3 be built twice as long."""
    options = ("-DMNIST_FAST_SIMT_TESTS=ON", "-DCMAKE_CXX_FLAGS_RELEASE=-O2", *definitions)
    for command in (
        ("cmake", "-S", source, "-B", folder, *options),
        ("cmake", "--build", folder, "--target", "simt_test", "--parallel", "2"),
    ):
        result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return folder / "simt_test"


def problem(
    case: Block,
    n: int,
    arithmetic: str,
    operands: str = "integers",
    layout: str = "channels_last",
    multiprocessors: int = 2,
) -> str:
    """A line for the program; few multiprocessors give every block of threads several items."""
    numbers = (
        multiprocessors, case.bias, n, case.c, case.h, case.w, case.o, *case.k, *case.stride, *case.padding,
        *case.pool_size, *(case.pool_stride or case.pool_size), case.relu,
    )  # fmt: skip
    return " ".join([arithmetic, operands, layout, *(str(int(number)) for number in numbers)])


def run(program: Path, problems: Iterable[str], *schedules: str) -> tuple[int, int]:
    """How many problems agree with the reference under the schedules, and how many no kernel covers."""
    result = subprocess.run(
        [program, *schedules], input="\n".join(problems), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-4000:]
    words = result.stdout.split()
    return int(words[0]), int(words[3])
