"""The mutation gate of the CUDA kernels: their tests on the CPU notice every fault of cuda_faults.py."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from cases import KINDS, ODD, Block
from cuda_faults import FAULTS
from planting import HEADER, SWITCH, faults_of, plant, plant_all
from simt_program import ARITHMETICS, CHECKOUT, LAYOUTS, build, problem

SECONDS = 300  # most faults are met within two

# What reaches every site, the quickest first.
EXTRA = [
    Block("bands", 8, 24, 20, 16, (3, 3)),
    Block("direct-bands", 1, 30, 40, 32, (3, 3), padding=(1, 1)),
    Block("tails-of-channels", 9, 7, 7, 20, (3, 3), padding=(1, 1)),
    Block("strided", 8, 9, 9, 8, (3, 3), stride=(2, 2), padding=(1, 1), pool_size=(1, 1)),
]


def problems() -> str:
    lines = [
        problem(case, 3, arithmetic, operands, layout, multiprocessors)
        for case in KINDS + EXTRA + ODD
        for arithmetic in ARITHMETICS
        for operands, layout, multiprocessors in (
            ("integers", LAYOUTS[0], 1), ("integers", LAYOUTS[1], 5), ("nonfinite", LAYOUTS[2], 2),
        )
    ]  # fmt: skip
    lines += [
        problem(Block("many", c, 5, 5, 16, (3, 3)), 41, arithmetic, multiprocessors=1)
        for c in (1, 8)
        for arithmetic in ARITHMETICS
    ]
    random.Random(0).shuffle(lines)
    return "\n".join(lines)


def test_every_site_is_there_once() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    for file in {fault.file for fault in FAULTS}:
        source = (CHECKOUT / "csrc" / file).read_text()
        faults = faults_of(file, FAULTS)
        planted = plant(source, faults)
        assert [planted.count(f"mnist_fast_fault({number})") for number in faults] == [1] * len(faults)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All faults inside, and all tests passed while none of them is on."""
    folder = tmp_path_factory.mktemp("cuda_faults")
    for part in ("csrc", "tests/cpp", "tests/simt"):
        shutil.copytree(CHECKOUT / part, folder / part)
    shutil.copy(CHECKOUT / "CMakeLists.txt", folder)
    plant_all(folder / "csrc", FAULTS)
    header = folder / "faults.h"
    header.write_text(HEADER)
    built = build(folder / "build", f"-DCMAKE_CXX_FLAGS=-include {header}", source=folder)
    result = run(built)
    assert result.returncode == 0, result.stderr
    return built


def run(program: Path, fault: int | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({} if fault is None else {SWITCH: str(fault)})}
    return subprocess.run(
        [program, "starve", "in-order"], input=problems(), capture_output=True, text=True, check=False,
        env=environment, timeout=SECONDS,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="needs cmake and a C++ compiler on the PATH"
)
@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[fault.name for fault in FAULTS])
def test_fault_is_caught(program: Path, number: int) -> None:
    result = run(program, number)
    print(f"{FAULTS[number].name}: exit code {result.returncode}, {result.stderr.strip()}")
    assert result.returncode != 0, f"csrc/{FAULTS[number].file}: nothing notices ({FAULTS[number].meaning})"
