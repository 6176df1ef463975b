"""What ``pip install`` built, and how it looks for torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mnist_fast.ops import library

BACKEND = Path(__file__).resolve().parent.parent / "build_backend"


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm from binutils")
def test_the_library_needs_torchs_stable_abi_only() -> None:
    """C++ symbols of torch change with its version: a library that uses one loads under that version alone."""
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", library.DIRECTORY / "libmnist_fast_torch.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    foreign = [name for name in symbols if name.startswith(("_ZN2at", "_ZN3c10", "_ZN5torch", "_ZNK2at", "_ZNK3c10"))]
    assert not foreign
    assert any(name.startswith("aoti_torch_") for name in symbols)


def test_the_core_needs_no_torch() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import _core; print(_core.available_isas()[-1])"],
        cwd=library.DIRECTORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "reference", result.stderr


def test_build_info_names_compiler_and_torch() -> None:
    info = library.build_info()
    if not info:
        pytest.skip("the libraries were built by CMake alone, not by pip")
    assert info["torch"]
    assert info["compiler"]
    assert info.get("nvcc") or info["cuda_error"]


def run_backend(code: str, site: Path) -> str:
    """Run code with the build backend importable and ``site`` as the only place where torch could be."""
    prefix = f"import sys; sys.path[:0] = [{str(BACKEND)!r}]\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", prefix + code], capture_output=True, text=True, check=True, cwd=site
    ).stdout.strip()


def test_the_torch_of_this_environment_is_found() -> None:
    found = run_backend("import target_torch; print(target_torch.target_torch().version)", Path("/"))
    assert found == torch.__version__


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.10.0", "2.10.0"), ("2.15.1+cu130", "2.15.1+cu130"), ("3.0.0a0", "3.0.0a0"), ("2.9.1", None), (None, None)],
)
def test_only_a_torch_new_enough_is_built_against(tmp_path: Path, version: str | None, expected: str | None) -> None:
    if version is not None:
        package = tmp_path / "torch"
        package.mkdir()
        (package / "__init__.py").write_text("raise SystemExit('must not be imported')")
        (package / "version.py").write_text(f"__version__ = {version!r}\n")
    # The probe runs in a bare interpreter that sees tmp_path instead of this environment's packages.
    elsewhere = f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + [{str(tmp_path)!r}]"
    code = (
        "import json, target_torch\n"
        f"target_torch._PROBE = {elsewhere!r} + target_torch._PROBE\n"
        "found = target_torch.target_torch()\n"
        "print(json.dumps(found and found.version))\n"
    )
    assert json.loads(run_backend(code, tmp_path)) == expected
