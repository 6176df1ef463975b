"""Help answers at once: without torch and what else is slow to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mnist_fast.cli.app import COMMANDS

HEAVY = ("torch", "torchvision", "sklearn", "numpy", "matplotlib", "PIL", "rich")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['mnist-fast', *sys.argv[1:], '--help']\n"
        "from mnist_fast.cli import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"
    assert "Usage:" in done.stdout


def test_every_command_is_listed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mnist_fast", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in COMMANDS:
        assert f"  {command} " in done


def test_unknown_command() -> None:
    done = subprocess.run([sys.executable, "-m", "mnist_fast", "fly"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "fly" in done.stderr
