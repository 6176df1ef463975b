"""Builds and runs tests/simt: the CUDA kernels on the CPU (tests/simt/README.md)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Counts:
    """Of problems: that agree with the reference, that no kernel covers, and those that direct kernels cover."""

    agree: int
    uncovered: int
    direct: int


def run(program: Path, problems: Iterable[str], *arguments: str) -> Counts:
    """Runs problems under the schedules that the arguments name; "tensor-cores" among them turns direct kernels off."""
    result = subprocess.run(
        [program, *arguments], input="\n".join(problems), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-4000:]
    words = result.stdout.split()
    return Counts(int(words[0]), int(words[3]), int(words[7]))
