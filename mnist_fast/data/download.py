"""Bring the files of a dataset that are not on disk: one process at a time, whole files or none."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import pooch
import requests

from mnist_fast.data.catalog import IDX_SETS, IdxFile
from mnist_fast.data.reading import missing_files
from mnist_fast.data.vision import download_steps, socket_timeout
from mnist_fast.errors import DataError

Progress = Callable[[str], None]

_TIMEOUT_SECONDS = (5.0, 30.0)  # to connect, and between two pieces of an answer
_TEMPORARY = ".download-"
_LOCK = ".download.lock"


def download(name: str, root: Path, progress: Progress) -> None:
    """Download what :func:`~mnist_fast.data.reading.missing_files` names.

    Everything is written to a temporary directory and renamed once it is whole, under a lock that other processes
    respect: whoever comes later finds the files and downloads nothing. Files that exist are left alone.

    Args:
        progress: is told in a line of text what happens.

    Raises:
        DataError: no address had a file (the message names each with its reason), torchvision is needed and does not
            work, or ``root`` cannot be written to.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root, progress):
            for leftover in root.glob(f"{_TEMPORARY}*"):  # of a process that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            missing = missing_files(name, root)
            if missing:
                with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=root) as temporary:
                    if name in IDX_SETS and IDX_SETS[name].mirrors:
                        _from_mirrors(name, root, missing, Path(temporary), progress)
                    else:
                        _through_torchvision(name, root, Path(temporary), progress)
    except OSError as error:
        raise DataError(f"cannot write below {root}: {error.strerror or error}") from None


@contextlib.contextmanager
def _locked(root: Path, progress: Progress) -> Iterator[None]:
    with tempfile.TemporaryFile(dir=root):
        pass  # fails at once where nothing can be written; the lock would wait there for ever
    lock = filelock.FileLock(root / _LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        progress(f"waiting for another process that is downloading into {root}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _from_mirrors(name: str, root: Path, missing: list[str], temporary: Path, progress: Progress) -> None:
    idx_set = IDX_SETS[name]
    (root / idx_set.folder).mkdir(parents=True, exist_ok=True)
    for file in idx_set.files:
        if f"{idx_set.folder}/{file.name}" in missing:
            archive = temporary / f"{file.name}.gz"
            _retrieve(file, idx_set.mirrors, archive, progress)
            content = temporary / file.name
            with gzip.open(archive) as packed, content.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
            content.replace(root / idx_set.folder / file.name)


def _retrieve(file: IdxFile, mirrors: tuple[str, ...], archive: Path, progress: Progress) -> None:
    """Write the published, compressed ``file`` to ``archive``, from the first mirror that has it."""
    fetch = pooch.HTTPDownloader(chunk_size=1 << 16, timeout=_TIMEOUT_SECONDS, headers={"Accept-Encoding": "identity"})
    failures = []
    for mirror in mirrors:
        url = f"{mirror}{file.name}.gz"
        progress(f"downloading {url}")
        try:
            fetch(url, str(archive), None)
        except requests.RequestException as error:
            failures.append(f"{url}: {_reason(error)}")
            continue
        digest = pooch.file_hash(str(archive), alg="md5")
        if digest == file.md5:
            return
        failures.append(f"{url}: what came is not the published file (its MD5 is {digest}, not {file.md5})")
    raise DataError("; ".join(failures))


def _through_torchvision(name: str, root: Path, temporary: Path, progress: Progress) -> None:
    for addresses, run in download_steps(name, temporary):
        progress(f"downloading {', '.join(addresses)} through torchvision")
        try:
            with socket_timeout():
                run()
        except Exception as error:  # torchvision lets through whatever urllib, zipfile, gzip and its own reader raise
            raise DataError(f"{', '.join(addresses)}: {_reason(error)}") from None
    # EMNIST's one archive brings all of its splits: keep every set that lies in the same folder.
    for other in [name, *IDX_SETS]:
        for relative in missing_files(other, root):
            if (temporary / relative).exists():
                (root / relative).parent.mkdir(parents=True, exist_ok=True)
                (temporary / relative).replace(root / relative)


def _reason(error: BaseException) -> str:
    """The shortest true account of a failed download: the status, else the innermost cause."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    while inner := error.__cause__ or error.__context__:
        error = inner
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
