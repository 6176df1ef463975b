"""The kernels without torch: built by CMake alone, with the address sanitizer, and run against the reference."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


def run(*command: object) -> str:
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout


@pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="needs cmake and a C++ compiler on the PATH"
)
@pytest.mark.parametrize(
    ("sanitizers", "problems"),
    [("", 300), pytest.param("address", 150, marks=pytest.mark.long)],
    ids=["plain", "address-sanitizer"],
)
def test_core_builds_and_agrees_without_torch(tmp_path: Path, sanitizers: str, problems: int) -> None:
    run(
        "cmake", "-S", CHECKOUT, "-B", tmp_path, "-DMNIST_FAST_NATIVE_TESTS=ON", f"-DMNIST_FAST_SANITIZE={sanitizers}"
    )  # fmt: skip
    run("cmake", "--build", tmp_path, "--parallel", "2")
    assert f"{2 * problems} problems agree" in run(tmp_path / "core_test", problems)
