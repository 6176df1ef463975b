"""What is known about each dataset: its files, classes, published digests, and where it can be had.

Paths are below a torchvision root, as torchvision lays them out, so one copy serves both.
"""

from __future__ import annotations

import string
from dataclasses import dataclass


@dataclass(frozen=True)
class IdxFile:
    """One IDX file, stored plain or with ``.gz`` after its name.

    Attributes:
        name: as published; it says how many dimensions of which type the file has (``…-idx3-ubyte``).
        md5: of the published ``NAME.gz``, checked after a download.
        sha256: of the content, checked at each reading; empty where it is not known.
    """

    name: str
    md5: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class IdxSet:
    """A dataset in four IDX files: training images and labels, test images and labels.

    Attributes:
        folder: below the data directory.
        mirrors: addresses to which ``NAME.gz`` is appended, the first first; none means that torchvision downloads it.
        first_label: what the first class is called in the files.
        transposed: whether the files hold columns where pictures have rows.
    """

    folder: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    classes: tuple[str, ...]
    mirrors: tuple[str, ...] = ()
    first_label: int = 0
    transposed: bool = False


def _emnist_files(split: str) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
    return (
        IdxFile(f"emnist-{split}-train-images-idx3-ubyte"),
        IdxFile(f"emnist-{split}-train-labels-idx1-ubyte"),
        IdxFile(f"emnist-{split}-test-images-idx3-ubyte"),
        IdxFile(f"emnist-{split}-test-labels-idx1-ubyte"),
    )


_DIGITS = tuple(string.digits)

IDX_SETS: dict[str, IdxSet] = {
    "mnist": IdxSet(
        folder="MNIST/raw",
        files=(
            IdxFile(
                "train-images-idx3-ubyte",
                md5="f68b3c2dcbeaaa9fbdd348bbdeb94873",
                sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            IdxFile(
                "train-labels-idx1-ubyte",
                md5="d53e105ee54ea40749a09fcbcd1e9432",
                sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            IdxFile(
                "t10k-images-idx3-ubyte",
                md5="9fb629c4189551a2d022fa330f9573f3",
                sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte",
                md5="ec29112dd5afa0611ce80d1b7f02629c",
                sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        classes=_DIGITS,
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    ),
    "fashion-mnist": IdxSet(
        folder="FashionMNIST/raw",
        files=(
            IdxFile("train-images-idx3-ubyte", md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            IdxFile("train-labels-idx1-ubyte", md5="25c81989df183df01b3e8a0aad5dffbe"),
            IdxFile("t10k-images-idx3-ubyte", md5="bef4ecab320f06d8554ea6380940ec79"),
            IdxFile("t10k-labels-idx1-ubyte", md5="bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    ),
    "kmnist": IdxSet(
        folder="KMNIST/raw",
        files=(
            IdxFile("train-images-idx3-ubyte", md5="bdb82020997e1d708af4cf47b453dcf7"),
            IdxFile("train-labels-idx1-ubyte", md5="e144d726b3acfaa3e44228e80efcd344"),
            IdxFile("t10k-images-idx3-ubyte", md5="5c965bf0a639b31b8f53240b1b52f4d7"),
            IdxFile("t10k-labels-idx1-ubyte", md5="7320c461ea6c1c855c0b718fb2a4b134"),
        ),
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    ),
    "emnist-digits": IdxSet(folder="EMNIST/raw", files=_emnist_files("digits"), classes=_DIGITS, transposed=True),
    "emnist-letters": IdxSet(
        folder="EMNIST/raw",
        files=_emnist_files("letters"),
        classes=tuple(string.ascii_lowercase),
        first_label=1,
        transposed=True,
    ),
    "qmnist": IdxSet(
        folder="QMNIST/raw",
        files=(
            IdxFile("qmnist-train-images-idx3-ubyte"),
            # Eight numbers for each picture, of which the first is the class.
            IdxFile("qmnist-train-labels-idx2-int"),
            IdxFile("qmnist-test-images-idx3-ubyte"),
            IdxFile("qmnist-test-labels-idx2-int"),
        ),
        classes=_DIGITS,
    ),
}

# Pictures and labels together, one file for training and one for testing, in the data directory itself -> MD5.
USPS_FILES: dict[str, str] = {
    "usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197",
    "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118",
}


def relative_paths(name: str) -> list[str]:
    """The files of a dataset, below the data directory; none for ``digits``, which comes with scikit-learn."""
    if name in IDX_SETS:
        idx_set = IDX_SETS[name]
        return [f"{idx_set.folder}/{file.name}" for file in idx_set.files]
    return list(USPS_FILES) if name == "usps" else []


def classes_of(name: str) -> tuple[str, ...]:
    """What each label of a dataset stands for."""
    return IDX_SETS[name].classes if name in IDX_SETS else _DIGITS
