"""The file a benchmark is written to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mnist_fast.files import OutputError


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
