"""What a run ran on, beside its configuration: enough to say later why two runs differ."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import torch

from mnist_fast.devices import environment
from mnist_fast.machine import cores, processor
from mnist_fast.version import __version__

_VARIABLES = ("MNIST_FAST_", "OMP_", "CUDA_VISIBLE")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Versions, machine, device, threads, instruction sets, git revision and command line, in plain JSON values."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "mnist_fast": __version__,
        **environment(device),
        "python": platform.python_version(),
        "safetensors": version("safetensors"),
        "os": platform.platform(),
        "cpu": processor(),
        "cores": cores(),
        "variables": {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)},
        "git": _git_revision(),
    }


def _git_revision() -> str | None:
    """The commit that is checked out in the working directory, with ``-dirty`` where files differ from it."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit
        return None
    return done.stdout.strip()
