"""Load, fetch and verify datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mnist_fast.data.catalog import IDX_SETS, classes_of, relative_paths
from mnist_fast.data.dataset import Dataset, pixel_statistics
from mnist_fast.data.digits import load_bundled_digits
from mnist_fast.data.idx import DamagedFileError
from mnist_fast.data.names import DATASET_CHOICES, DATASET_NAMES, FOLDER_PREFIX
from mnist_fast.data.paths import resolve_data_dir
from mnist_fast.data.reading import FileCheck, check_files, missing_files, read_splits
from mnist_fast.errors import DataError, UsageError


class UnavailableError(DataError):
    """A dataset of which nothing is on disk and which cannot be downloaded.

    Args:
        facts: where it was looked for, and why it cannot be had.
    """

    def __init__(self, facts: str) -> None:
        super().__init__(f"{facts}; name a directory that has it with --data-dir, or fetch it where there is a network")
        self.facts = facts


def load_dataset(
    name: str = "auto",
    data_dir: str | Path | None = None,
    *,
    offline: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Dataset:
    """Load a dataset, downloading what is not on disk.

    Args:
        name: one of :data:`~mnist_fast.data.DATASET_NAMES`. ``"auto"`` is MNIST where it is on disk or can be
            downloaded, else ``"digits"``, whose ``source`` then says why. ``"folder:DIR"`` is people's own pictures
            (:func:`~mnist_fast.data.folder.load_folder`).
        data_dir: a torchvision root; None for :func:`~mnist_fast.data.default_data_dir`.
        offline: never touch the network.
        progress: is told in a line of text what is downloaded from where.

    Raises:
        UsageError: no such dataset.
        DataError: a file is missing, incomplete, damaged or altered (``"auto"`` too refuses a damaged MNIST), or the
            directory cannot be used. The message names the files, and each address that was tried with its reason.
    """
    if name == "auto":
        try:
            return load_dataset("mnist", data_dir, offline=offline, progress=progress)
        except UnavailableError as error:
            digits = load_bundled_digits()
            return replace(digits, source=f"{error.facts}; using {digits.source} instead")
    own_folder = _own_folder(name)
    if own_folder is not None:
        from mnist_fast.data.folder import load_folder  # brings Pillow, which few runs need

        return load_folder(own_folder)
    _check_name(name)
    if name == "digits":
        return load_bundled_digits()
    root = resolve_data_dir(data_dir)
    _complete(name, root, offline=offline, progress=progress)
    try:
        train_images, train_labels, test_images, test_labels = read_splits(name, root)
    except DamagedFileError as error:
        raise DataError(_with_remedy(name, str(error))) from None
    folder = _folder(name, root)
    mean, std = pixel_statistics(train_images)
    if std == 0:
        raise DataError(f"every pixel of the training images of {name} in {folder} has the same value")
    return Dataset(
        name=name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        classes=classes_of(name),
        mean=mean,
        std=std,
        source=f"{name}: {len(train_images):,} training and {len(test_images):,} test images from {folder}",
    )


def fetch(
    name: str,
    data_dir: str | Path | None = None,
    *,
    offline: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Download the files of a dataset that are not on disk, and check them all.

    Args:
        name: a dataset; ``"auto"`` is none.
        data_dir, offline, progress: as for :func:`load_dataset`.

    Returns:
        The files, whether they were there already or not; none for ``"digits"``, which comes with scikit-learn.

    Raises:
        UsageError, DataError: as :func:`load_dataset`.
    """
    _check_name(name)
    root = resolve_data_dir(data_dir)
    _complete(name, root, offline=offline, progress=progress)
    checks = check_files(name, root)
    for check in checks:
        if check.status != "ok":
            raise DataError(_with_remedy(name, check.detail))
    return [check.path for check in checks]


def verify(name: str, data_dir: str | Path | None = None) -> list[FileCheck]:
    """Check every file of a dataset, without the network.

    Args:
        name: a dataset, ``"folder:DIR"`` included; ``"auto"`` is none.

    Returns:
        One result a file, in the order of the catalogue or of the files' names; none for ``"digits"``, which comes with
        scikit-learn.

    Raises:
        UsageError: no such dataset.
        DataError: the files cannot be looked at, for want of permission; a folder's pictures are whole and yet no
            dataset, as of one class alone.
    """
    folder = _own_folder(name)
    if folder is not None:
        from mnist_fast.data.folder import check_folder

        return check_folder(folder)
    _check_name(name)
    return check_files(name, resolve_data_dir(data_dir))


def _own_folder(name: str) -> Path | None:
    """DIR of ``"folder:DIR"``; None for another name."""
    directory = name.removeprefix(FOLDER_PREFIX)
    return resolve_data_dir(directory) if directory and directory != name else None


def _check_name(name: str) -> None:
    if name not in DATASET_NAMES or name == "auto":
        raise UsageError(f"unknown dataset {name!r}; choose from {', '.join(DATASET_CHOICES)}")


def _folder(name: str, root: Path) -> Path:
    return root / IDX_SETS[name].folder if name in IDX_SETS else root


def _with_remedy(name: str, fault: str) -> str:
    return f"{fault}; move that file away, then `mnist-fast data fetch {name}` brings the published one"


def _complete(name: str, root: Path, *, offline: bool, progress: Callable[[str], None] | None) -> None:
    """Download what is missing, or say what is missing and why it cannot be had."""
    missing = missing_files(name, root)
    if not missing:
        return
    if root.is_file():
        raise DataError(f"the data directory {root} is a file")
    files = ", ".join(Path(relative).name for relative in missing)
    nothing_there = len(missing) == len(relative_paths(name))
    if nothing_there:
        packed = ", plain or .gz" if name in IDX_SETS else ""
        facts = f"{name} is not in {_folder(name, root)} (looked for {files}{packed})"
    else:
        facts = f"{name} in {_folder(name, root)} is incomplete (without {files})"
    if offline:
        facts += " and must not be downloaded (offline)"
    else:
        from mnist_fast.data.download import download  # brings requests: a tenth of a second that few runs need

        try:
            download(name, root, progress or (lambda _: None))
        except DataError as error:
            facts += f" and could not be downloaded: {error}"
        else:
            return
    # Some of its files are there: somebody means to have it, so "auto" must not pass over them in silence.
    unavailable = UnavailableError(facts)
    raise unavailable if nothing_there else DataError(str(unavailable))
