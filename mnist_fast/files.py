"""Writing files so that a reader, at any time and after any crash, finds the old content or the new one, whole."""

from __future__ import annotations

import os
from pathlib import Path

from mnist_fast.errors import MnistFastError

_SUFFIX = ".tmp"


class OutputError(MnistFastError):
    """A file or directory that cannot be written."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``: temporary file beside it, fsync, rename, fsync of the directory.

    Raises:
        OutputError: the content cannot be written; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


def remove_stale_temporaries(directory: Path) -> None:
    """Delete what writers that were killed left behind. No writer may be at work in ``directory``."""
    for temporary in directory.glob(f".*{_SUFFIX}"):
        temporary.unlink(missing_ok=True)
