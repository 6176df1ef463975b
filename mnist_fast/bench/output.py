"""The file a benchmark is written to."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from mnist_fast.files import OutputError, write_atomically


def check_writable(path: Path) -> None:
    """Find before the work, not after it, that a file cannot be put at ``path``.

    Raises:
        OutputError: ``path`` is a directory or a device, or its directory cannot be written.
    """
    if path.exists() and not path.is_file():
        raise OutputError(f"cannot write {path}: it is no regular file; give the name of one")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write ``value`` for programs and people. Raises OutputError."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())
