"""Small datasets in the files of the real ones, for tests."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnist_fast.data import catalog

TRAIN, TEST = 12, 6  # images


def idx_bytes(values: np.ndarray, type_code: int = 0x08) -> bytes:
    """An IDX file of ``values``, whose dtype is the caller's business."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, type_code, values.ndim, *values.shape) + values.tobytes()


def small_images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (count, 28, 28)).astype(np.uint8)


def small_labels(count: int, first: int = 0, classes: int = 10) -> np.ndarray:
    return (np.arange(count) % classes + first).astype(np.uint8)


def small_contents(name: str) -> dict[str, bytes]:
    """A small whole dataset: the files' names without ``.gz`` -> their contents."""
    idx_set = catalog.IDX_SETS[name]
    contents = {}
    for file, count, seed in zip(idx_set.files, (TRAIN, TRAIN, TEST, TEST), (0, 0, 1, 1), strict=True):
        if "images" in file.name:
            contents[file.name] = idx_bytes(small_images(count, seed))
        elif file.name.endswith("-int"):
            rows = np.full((count, 8), 77, dtype=">i4")
            rows[:, 0] = small_labels(count)
            contents[file.name] = idx_bytes(rows, type_code=0x0C)
        else:
            contents[file.name] = idx_bytes(small_labels(count, idx_set.first_label))
    return contents


def write_files(root: Path, name: str, contents: Mapping[str, bytes] | None = None, *, packed: bool = False) -> Path:
    """Put a dataset where it belongs below ``root``; returns its folder."""
    folder = root / catalog.IDX_SETS[name].folder
    folder.mkdir(parents=True)
    for file, content in (contents or small_contents(name)).items():
        if packed:
            (folder / f"{file}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / file).write_bytes(content)
    return folder


def publish(
    monkeypatch: pytest.MonkeyPatch, served: Path, name: str = "mnist", mirrors: tuple[str, ...] = ()
) -> dict[str, bytes]:
    """Make a small dataset the published one: its archives lie in ``served``, the catalogue has its digests.

    Returns:
        The contents of its files.
    """
    contents = small_contents(name)
    files = []
    for file in catalog.IDX_SETS[name].files:
        archive = gzip.compress(contents[file.name], mtime=0)
        (served / f"{file.name}.gz").write_bytes(archive)
        md5, sha256 = hashlib.md5(archive).hexdigest(), hashlib.sha256(contents[file.name]).hexdigest()
        files.append(replace(file, md5=md5, sha256=sha256))
    changed = replace(catalog.IDX_SETS[name], files=tuple(files), mirrors=mirrors)
    monkeypatch.setitem(catalog.IDX_SETS, name, changed)
    return contents


def usps_bytes(labels: np.ndarray, images: np.ndarray) -> bytes:
    """USPS's text format: labels from 1, pixels uint8 (N, 16, 16) as numbers from -1 to 1."""
    lines = []
    for label, image in zip(labels, images, strict=True):
        pixels = " ".join(f"{index}:{value / 127.5 - 1:.6f}" for index, value in enumerate(image.flatten(), start=1))
        lines.append(f"{label} {pixels} \n")
    return bz2.compress("".join(lines).encode())


def emnist_zip(path: Path, splits: tuple[str, ...] = ("digits", "letters")) -> None:
    """EMNIST's archive: a zip file of gzip files."""
    with zipfile.ZipFile(path, "w") as archive:
        for split in splits:
            for file, content in small_contents(f"emnist-{split}").items():
                archive.writestr(f"gzip/{file}.gz", gzip.compress(content, mtime=0))
