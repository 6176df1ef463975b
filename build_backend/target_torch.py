"""Finds the torch to build against: the one of the environment that ``pip install`` installs into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

OLDEST_TORCH = (2, 10)

# Reads torch's version file instead of importing torch, which takes seconds.
_PROBE = """
import importlib.util, json, pathlib
spec = importlib.util.find_spec("torch")
found = None
if spec is not None and spec.submodule_search_locations:
    directory = pathlib.Path(list(spec.submodule_search_locations)[0])
    facts = {}
    exec((directory / "version.py").read_text(), facts)
    found = {
        "directory": str(directory),
        "version": str(facts["__version__"]),
        "torchvision": importlib.util.find_spec("torchvision") is not None,
    }
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Torch:
    directory: str
    version: str
    torchvision: bool  # whether torchvision is installed beside it


def target_torch() -> Torch | None:
    """The torch of the target environment, or None where it has none that is new enough.

    pip isolates a build by environment variables around the target's own interpreter, so the same interpreter without
    them sees the target. Other front ends (uv, ``python -m build``) use an interpreter of their own: nothing is found.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONHOME")}
    return _probe(environment)


def build_torch() -> Torch | None:
    """The torch whose headers this build uses: the target's, else the one that came as a build requirement."""
    return target_torch() or _probe(dict(os.environ))


def _probe(environment: dict[str, str]) -> Torch | None:
    # -P-like care without -P (Python 3.11): from "/" no checkout directory can pose as a package.
    result = subprocess.run(
        [sys.executable, "-c", _PROBE], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        return None
    found = json.loads(result.stdout.splitlines()[-1])
    if found is None:
        return None
    version = tuple(int(part) for part in found["version"].split("+")[0].split(".")[:2])
    return Torch(**found) if version >= OLDEST_TORCH else None
