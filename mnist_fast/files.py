"""Writing files so that a reader, at any time and after any crash, finds the old content or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from mnist_fast.errors import MnistFastError

_SUFFIX = ".tmp"
_TOO_MUCH = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


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
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


def check_room(directory: Path, sizes: list[int]) -> None:
    """Reserve files of these sizes, in bytes, in ``directory`` for a moment.

    Raises:
        OutputError: nothing can be written there, or not that much: the disk, a quota or a limit says so.
    """
    try:
        with contextlib.ExitStack() as files:
            for size in sizes:
                probe = files.enter_context(tempfile.TemporaryFile(dir=directory))
                os.posix_fallocate(probe.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # file systems that cannot reserve
            needs = f"; a run needs {sum(sizes) / 2**20:.1f} MiB" if error.errno in _TOO_MUCH else ""
            raise OutputError(f"cannot write to the output directory {directory}: {error.strerror}{needs}") from None


def remove_stale_temporaries(directory: Path) -> None:
    """Delete what writers that were killed left behind. No writer may be at work in ``directory``."""
    for temporary in directory.glob(f".*{_SUFFIX}"):
        temporary.unlink(missing_ok=True)
