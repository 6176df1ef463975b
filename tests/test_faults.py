"""The mutation gate: the native tests notice every fault of faults.py, planted in a copy of the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from faults import FAULTS, Fault
from planting import HEADER, SWITCH, SiteError, faults_of, plant, plant_all

CHECKOUT = Path(__file__).resolve().parent.parent
FILES = sorted({fault.file for fault in FAULTS})
PROBLEMS, CPU_SECONDS, SECONDS = 400, 120, 300  # most faults are met among the first 20


def test_every_site_is_there_once_and_nothing_else_changes() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    for file in FILES:
        source = (CHECKOUT / "csrc" / file).read_text()
        faults = faults_of(file)
        planted = plant(source, faults)
        sites = {line for fault in faults.values() for line in fault.old.splitlines()}
        changed = set(source.splitlines()) - set(planted.splitlines())
        assert all(any(site in line for site in sites) for line in changed)
        assert planted.count("\n") == source.count("\n")
        assert [planted.count(f"mnist_fast_fault({number})") for number in faults] == [1] * len(faults)


def test_a_site_that_is_gone_or_ambiguous_is_an_error() -> None:
    fault = Fault("a", "b", "x + 1", "x", "")
    for source in ("int y = x;", "int y = x + 1, z = x + 1;"):
        with pytest.raises(SiteError, match=r"a: its text stands \d times in csrc/b"):
            plant(source, {0: fault})
    with pytest.raises(SiteError, match="two faults overlap at '1'"):
        plant("int y = x + 1;", {0: fault, 1: Fault("c", "b", "1", "2", "")})


def test_faults_of_one_site_are_alternatives() -> None:
    planted = plant("y = x + 1;", {3: Fault("a", "f", "x + 1", "x", ""), 5: Fault("b", "f", "x + 1", "1", "")})
    assert planted == "y = (mnist_fast_fault(5) ? (1) : ((mnist_fast_fault(3) ? (x) : (x + 1))));"


def run(*command: object, fault: int | None = None) -> subprocess.CompletedProcess[str]:
    """What a fault makes of the sizes it computes must not take the machine's memory, or run forever."""
    environment = {**os.environ, **({} if fault is None else {SWITCH: str(fault)})}
    return subprocess.run(
        ["prlimit", f"--as={4 << 30}", f"--cpu={CPU_SECONDS}", *map(str, command)],
        capture_output=True, text=True, check=False, env=environment, timeout=SECONDS,
    )  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The native tests with all faults inside, which they pass while none of them is on."""
    folder = tmp_path_factory.mktemp("faults")
    for part in ("csrc", "tests/cpp"):
        shutil.copytree(CHECKOUT / part, folder / part)
    shutil.copy(CHECKOUT / "CMakeLists.txt", folder)
    plant_all(folder / "csrc")
    header, build = folder / "faults.h", folder / "build"
    header.write_text(HEADER)
    options = ("-DMNIST_FAST_NATIVE_TESTS=ON", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O1")
    for command in (
        ("cmake", "-S", folder, "-B", build, *options, f"-DCMAKE_CXX_FLAGS=-include {header}"),
        ("cmake", "--build", build, "--parallel", 2),
    ):
        result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return build / "core_test"


@pytest.fixture(scope="module")
def reached(program: Path) -> set[str]:
    """The instruction sets that the native tests ran on, and what else the processor says it has."""
    result = run(program, PROBLEMS)
    assert result.returncode == 0, result.stderr
    flags = Path("/proc/cpuinfo").read_text().split()
    return {*result.stdout.split(" problems agree on ")[1].split(), *flags}


@pytest.mark.long
@pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="needs cmake and a C++ compiler on the PATH"
)
@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[fault.name for fault in FAULTS])
def test_fault_is_caught(program: Path, reached: set[str], number: int) -> None:
    fault = FAULTS[number]
    if fault.needs not in reached:
        pytest.skip(f"only {fault.needs} reaches it")
    started = time.monotonic()
    result = run(program, PROBLEMS, fault=number)
    print(f"{fault.name}: {time.monotonic() - started:.1f} s, {result.stderr.strip()}")
    assert result.returncode != 0, f"csrc/{fault.file}: nothing notices the fault ({fault.meaning})"
    assert result.returncode == 1, f"not a finding of the tests: exit code {result.returncode}, {result.stderr}"
