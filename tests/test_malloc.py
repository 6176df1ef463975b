"""What a process frees stays its own, where that was asked for, and only there."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from mnist_fast.cli import main
from mnist_fast.cli.app import COMMANDS
from mnist_fast.malloc import keep_freed_memory

MEBIBYTES = 96
PROGRAM = f"""
import ctypes
from pathlib import Path

def resident():  # in MiB
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024

def blocks_of(size):
    blocks = [malloc(size) for _ in range({MEBIBYTES} * 2**20 // size)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    return blocks

malloc = ctypes.CDLL(None).malloc
malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
free = ctypes.CDLL(None).free
free.restype, free.argtypes = None, [ctypes.c_void_p]
before = resident()
for block in blocks_of(SIZE):
    free(block)
print(resident() - before)
"""


def kept(size: int, first: str) -> int:
    """MiB that a process still holds after it filled and freed blocks of ``size`` bytes; ``first`` runs before."""
    program = f"SIZE = {size}\n{first}\n{PROGRAM}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize("size", [2**16, MEBIBYTES * 2**20], ids=["end-of-the-heap", "mapping"])
def test_what_is_freed_is_kept(size: int) -> None:
    assert kept(size, "from mnist_fast.malloc import keep_freed_memory; keep_freed_memory()") > MEBIBYTES - 4
    assert kept(size, "import mnist_fast") < MEBIBYTES // 2


def test_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    keep_freed_memory()


def test_commands_that_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in COMMANDS:
        monkeypatch.setattr("mnist_fast.cli.app.keep_freed_memory", lambda name=name: calls.append(name))
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0
    assert calls == ["train", "finetune", "eval", "speedrun"]
