"""From the files of a dataset to tensors, with every check that the files allow."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mnist_fast.data.catalog import IDX_SETS, USPS_FILES, relative_paths
from mnist_fast.data.digits import to_mnist_size
from mnist_fast.data.idx import AlteredFileError, DamagedFileError, read_content, read_idx
from mnist_fast.errors import DataError


@dataclass(frozen=True)
class FileCheck:
    """What was found out about one file.

    Attributes:
        path: the file, or where it should be.
        status: ``"altered"`` is a whole file whose content is not the published one.
        detail: what it holds, or what is wrong with it; one line that names the file.
    """

    path: Path
    status: Literal["ok", "missing", "damaged", "altered"]
    detail: str


def find_file(path: Path) -> Path | None:
    """``path``, else for an IDX file the same compressed (``path.gz``), else None where neither exists.

    Raises:
        DataError: the directory cannot be looked into.
    """
    candidates = [path] if path.suffix else [path, path.with_name(f"{path.name}.gz")]
    for candidate in candidates:
        try:
            os.lstat(candidate)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"cannot read {candidate}: {error.strerror or error}") from None
        return candidate
    return None


def missing_files(name: str, root: Path) -> list[str]:
    """The files of a dataset that are not below ``root``, as paths relative to it."""
    return [relative for relative in relative_paths(name) if find_file(root / relative) is None]


def read_splits(name: str, root: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Read a dataset whose files are all below ``root``.

    Returns:
        Training images uint8 (N, 28, 28) and labels int64 (N,), counted from 0; test images and labels.

    Raises:
        DamagedFileError: a file that is not whole, or does not fit the others; the message names it.
    """
    paths = [find_file(root / relative) or root / relative for relative in relative_paths(name)]
    if name == "usps":
        return (*_read_usps(paths[0]), *_read_usps(paths[1]))
    train_images = _read_images(name, paths[0])
    train_labels = _read_labels(name, paths[1], count=len(train_images))
    test_images = _read_images(name, paths[2])
    test_labels = _read_labels(name, paths[3], count=len(test_images))
    return train_images, train_labels, test_images, test_labels


def check_files(name: str, root: Path) -> list[FileCheck]:
    """Check each file of a dataset below ``root``, without stopping at the first fault."""
    return [check for paths in _split_paths(name, root) for check in _check_split(name, paths)]


def _check_split(name: str, paths: list[Path]) -> list[FileCheck]:
    count = None
    checks = []
    for wanted in paths:
        path = find_file(wanted)
        if path is None:
            checks.append(FileCheck(wanted, "missing", f"{wanted} does not exist"))
            continue
        try:
            if name == "usps":
                detail = f"{len(_read_usps(path)[0]):,} images and labels"
            elif "images" in path.name:
                count = len(_read_images(name, path))
                detail = f"{count:,} images"
            else:
                detail = f"{len(_read_labels(name, path, count)):,} labels"
        except AlteredFileError as error:
            checks.append(FileCheck(path, "altered", str(error)))
        except DamagedFileError as error:
            checks.append(FileCheck(path, "damaged", str(error)))
        else:
            checks.append(FileCheck(path, "ok", f"{path} holds {detail}"))
    return checks


def _split_paths(name: str, root: Path) -> tuple[list[Path], list[Path]]:
    """The files of the training and of the test split, images before labels."""
    paths = [root / relative for relative in relative_paths(name)]
    half = len(paths) // 2
    return paths[:half], paths[half:]


def _published_sha256(name: str, path: Path) -> str:
    files = {file.name: file.sha256 for file in IDX_SETS[name].files}
    return files[path.name.removesuffix(".gz")]


def _read_images(name: str, path: Path) -> Tensor:
    images = read_idx(path, _published_sha256(name, path))
    if images.shape[1:] != (28, 28):
        raise DamagedFileError(f"{path} holds pictures of {images.shape[1]}x{images.shape[2]}, not of 28x28")
    return images.transpose(1, 2).contiguous() if IDX_SETS[name].transposed else images


def _read_labels(name: str, path: Path, count: int | None) -> Tensor:
    """Labels as int64 from 0; ``count`` is how many there must be, where that is known."""
    values = read_idx(path, _published_sha256(name, path)).long()
    labels = values if values.dim() == 1 else values[:, 0].contiguous()  # QMNIST: the class comes first
    if count is not None and len(labels) != count:
        raise DamagedFileError(f"{path} holds {len(labels):,} labels for {count:,} images")
    return _from_zero(path, labels, IDX_SETS[name].first_label, len(IDX_SETS[name].classes))


def _from_zero(path: Path, labels: Tensor, first: int, classes: int) -> Tensor:
    wrong = labels[(labels < first) | (labels >= first + classes)]
    if len(wrong):
        raise DamagedFileError(
            f"{path} holds the label {int(wrong[0])}; labels here go from {first} to {first + classes - 1}"
        )
    return labels - first


def _read_usps(path: Path) -> tuple[Tensor, Tensor]:
    """16x16 pictures, stored as text with numbers from -1 to 1, enlarged to 28x28, and their labels."""
    digest = hashlib.md5(read_content(path), usedforsecurity=False).hexdigest()
    if digest != USPS_FILES[path.name]:
        raise AlteredFileError(
            f"{path} is damaged or altered: its MD5 is {digest}, the published file's is {USPS_FILES[path.name]}"
        )
    from sklearn.datasets import load_svmlight_file  # half a second that only USPS needs

    pixels, labels = load_svmlight_file(str(path), n_features=256, dtype=np.float32, zero_based=False)
    images = ((pixels.toarray() + 1) / 2 * 255).astype(np.uint8).reshape(-1, 16, 16)
    labels = _from_zero(path, torch.from_numpy(labels).long(), first=1, classes=10)
    return to_mnist_size(torch.from_numpy(images), white=255), labels
