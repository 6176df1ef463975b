"""A dataset of people's own: pictures sorted into one folder for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mnist_fast.data.dataset import Dataset, pixel_statistics
from mnist_fast.data.names import FOLDER_PREFIX
from mnist_fast.data.pictures import read_grey
from mnist_fast.data.reading import FileCheck
from mnist_fast.data.splitting import held_out_indices
from mnist_fast.errors import DataError

_SIZE = 28
_TEST_SHARE = 0.2


@dataclass(frozen=True)
class _Part:
    """Pictures of one split: grey levels of at most 28x28, and labels (N,)."""

    pictures: list[np.ndarray]
    labels: np.ndarray


def load_folder(folder: Path) -> Dataset:
    """Read a folder of class folders, or of ``train`` and ``test`` with class folders in each.

    The classes are the folders' names, sorted; every file in them is a picture (:func:`~.pictures.read_grey`), and they
    are taken in the order of their names. What begins with a dot is passed over. Without ``train`` and ``test`` a fifth
    of each class is held out for testing, always the same.

    A picture of 28x28 is taken pixel for pixel; another is scaled to fit and set in the middle of black. Where the
    training pictures are dark on light, which their borders tell, all pictures are inverted: MNIST is white on black.

    Raises:
        DataError: the folder is missing, is laid out otherwise, or holds what is no whole picture; the message names
            the file or folder.
    """
    names = _folders(folder)
    if {"train", "test"} & set(names):
        for split in ("train", "test"):
            if split not in names:
                raise DataError(f"{folder} has no folder {split} beside the other of train and test; add it")
        classes = _folders(folder / "train")
        train, test = _read(folder / "train", classes), _read(folder / "test", classes)
        held_out = ""
    else:
        classes = names
        everything = _read(folder, classes)
        indices = held_out_indices(everything.labels, _TEST_SHARE, seed=0)
        if not len(indices):
            raise DataError(f"{folder} has too few pictures to hold a fifth of each class out for testing; add some")
        train = _take(everything, np.setdiff1d(np.arange(len(everything.labels)), indices))
        test = _take(everything, indices)
        held_out = ", a fifth of each class held out for testing"
    inverted = _dark_on_light(train.pictures)
    train_images, test_images = (_assemble(part.pictures, inverted=inverted) for part in (train, test))
    mean, std = pixel_statistics(train_images)
    if std == 0:
        raise DataError(f"every pixel of the training pictures in {folder} has the same value")
    return Dataset(
        name=f"{FOLDER_PREFIX}{folder}",
        train_images=train_images,
        train_labels=torch.from_numpy(train.labels),
        test_images=test_images,
        test_labels=torch.from_numpy(test.labels),
        classes=tuple(classes),
        mean=mean,
        std=std,
        source=(
            f"{len(train_images):,} training and {len(test_images):,} test images of {len(classes)} classes from "
            f"{folder}{held_out}{', inverted to white on black' if inverted else ''}"
        ),
    )


def check_folder(folder: Path) -> list[FileCheck]:
    """Check each picture that :func:`load_folder` would read, without stopping at the first fault.

    Raises:
        DataError: as :func:`load_folder`, where each picture by itself is whole.
    """
    names = _folders(folder)
    tops = [folder / name for name in ("train", "test") if name in names] or [folder]
    checks = []
    for path in (path for top in tops for name in _folders(top) for path in _visible(top / name)):
        try:
            width, height = read_grey(path).size
        except DataError as error:
            checks.append(FileCheck(path, "damaged", str(error)))
        else:
            checks.append(FileCheck(path, "ok", f"{path} holds a picture of {width}x{height}"))
    if all(check.status == "ok" for check in checks):
        load_folder(folder)
    return checks


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, sorted by name."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from None


def _folders(folder: Path) -> list[str]:
    return [path.name for path in _visible(folder) if path.is_dir()]


def _read(folder: Path, classes: list[str]) -> _Part:
    """The pictures below ``folder``, with labels from their classes' places in ``classes``."""
    if len(classes) < 2:
        raise DataError(f"{folder} has pictures of {len(classes)} classes; it needs a folder for each of two or more")
    pictures, labels = [], []
    for name in _folders(folder):
        if name not in classes:
            raise DataError(f"{folder / name}: a class without training pictures; the classes are {', '.join(classes)}")
        paths = _visible(folder / name)
        if not paths:
            raise DataError(f"{folder / name} is empty; put pictures in it or remove it")
        pictures += [_scaled(read_grey(path)) for path in paths]
        labels += [classes.index(name)] * len(paths)
    if not pictures:
        raise DataError(f"{folder} has no folders of classes with pictures")
    return _Part(pictures, np.array(labels, dtype=np.int64))


def _scaled(picture: Image.Image) -> np.ndarray:
    if picture.size != (_SIZE, _SIZE):
        scale = _SIZE / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(picture)


def _take(part: _Part, indices: np.ndarray) -> _Part:
    return _Part([part.pictures[index] for index in indices], part.labels[indices])


def _dark_on_light(pictures: list[np.ndarray]) -> bool:
    """Whether the outermost pixels are light: the mean over the pictures of their borders' means."""
    borders = [np.concatenate((p[0], p[-1], p[:, 0], p[:, -1])).mean() for p in pictures]
    return float(np.mean(borders)) > 127.5


def _assemble(pictures: list[np.ndarray], *, inverted: bool) -> Tensor:
    """uint8 (N, 28, 28), each picture in the middle of black."""
    images = np.zeros((len(pictures), _SIZE, _SIZE), np.uint8)
    for image, picture in zip(images, pictures, strict=True):
        height, width = picture.shape
        top, left = (_SIZE - height) // 2, (_SIZE - width) // 2
        image[top : top + height, left : left + width] = 255 - picture if inverted else picture
    return torch.from_numpy(images)
