"""Datasets by name: what loads, what is refused, and what "auto" falls back to."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import (
    TEST,
    TRAIN,
    idx_bytes,
    publish,
    small_contents,
    small_images,
    small_labels,
    usps_bytes,
    write_files,
)

from mnist_fast.data import DATASET_NAMES, catalog, default_data_dir, fetch, load_dataset, verify
from mnist_fast.data.dataset import pixel_statistics
from mnist_fast.data.digits import to_mnist_size
from mnist_fast.errors import DataError, UsageError

IDX_NAMES = sorted(catalog.IDX_SETS)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may ask for an address; tests of downloads are elsewhere."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a connection was tried: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a small MNIST whose digests the catalogue has."""
    (tmp_path / "served").mkdir()
    root = tmp_path / "root"
    write_files(root, "mnist", publish(monkeypatch, tmp_path / "served"))
    return root


# What loads


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", [name for name in IDX_NAMES if name != "mnist"])
def test_files_as_torchvision_lays_them_out(tmp_path: Path, name: str, packed: bool) -> None:
    folder = write_files(tmp_path, name, packed=packed)
    dataset = load_dataset(name, tmp_path, offline=True)
    assert dataset.name == name
    assert str(folder) in dataset.source
    for images, labels, count, seed in (
        (dataset.train_images, dataset.train_labels, TRAIN, 0),
        (dataset.test_images, dataset.test_labels, TEST, 1),
    ):
        pictures = small_images(count, seed)
        if name.startswith("emnist"):  # stored with rows and columns exchanged
            pictures = pictures.transpose(0, 2, 1)
        assert images.dtype == torch.uint8
        assert images.is_contiguous()
        assert images.numpy().tolist() == pictures.tolist()
        assert labels.dtype == torch.int64
        assert labels.tolist() == small_labels(count).tolist()


def test_classes() -> None:
    assert (
        catalog.classes_of("mnist") == catalog.classes_of("usps") == catalog.classes_of("digits") == tuple("0123456789")
    )
    letters = catalog.classes_of("emnist-letters")
    assert len(letters) == 26
    assert letters[0] == "a"


def test_usps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.RandomState(0)
    pictures = rng.randint(0, 256, (10, 16, 16)).astype(np.uint8)
    pictures[0] = 255
    for file in ("usps.bz2", "usps.t.bz2"):
        content = usps_bytes(np.arange(1, 11), pictures)
        (tmp_path / file).write_bytes(content)
        monkeypatch.setitem(catalog.USPS_FILES, file, hashlib.md5(content).hexdigest())
    dataset = load_dataset("usps", tmp_path, offline=True)
    assert dataset.train_labels.tolist() == dataset.test_labels.tolist() == list(range(10))
    assert dataset.train_images.shape == (10, 28, 28)
    assert dataset.train_images[0, 4:24, 4:24].min() == 255
    assert dataset.train_images[:, :4].sum() == 0
    assert [check.status for check in verify("usps", tmp_path)] == ["ok", "ok"]

    (tmp_path / "usps.bz2").write_bytes(usps_bytes(np.arange(1, 11), pictures[::-1]))
    with pytest.raises(DataError, match=r"usps\.bz2 is damaged or altered"):
        load_dataset("usps", tmp_path, offline=True)
    assert [check.status for check in verify("usps", tmp_path)] == ["altered", "ok"]


def test_usps_levels_are_torchvisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torchvision_datasets: object
) -> None:
    pictures = np.random.RandomState(0).randint(0, 256, (10, 16, 16)).astype(np.uint8)
    content = usps_bytes(np.arange(1, 11), pictures)
    for file in catalog.USPS_FILES:
        (tmp_path / file).write_bytes(content)
        monkeypatch.setitem(catalog.USPS_FILES, file, hashlib.md5(content).hexdigest())
    theirs = torchvision_datasets.USPS(tmp_path, train=True)
    ours = load_dataset("usps", tmp_path, offline=True)
    assert torch.equal(ours.train_images, to_mnist_size(torch.from_numpy(theirs.data), white=255))
    assert ours.train_labels.tolist() == theirs.targets


@pytest.fixture
def torchvision_datasets() -> object:
    """torchvision's datasets; skips where torchvision is missing or does not fit torch."""
    try:
        from torchvision import datasets
    except Exception as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    return datasets


def test_plain_file_goes_before_the_compressed_one(tmp_path: Path) -> None:
    folder = write_files(tmp_path, "kmnist")
    for file in small_contents("kmnist"):
        (folder / f"{file}.gz").write_bytes(b"damaged")
    assert len(load_dataset("kmnist", tmp_path, offline=True).train_images) == TRAIN


def test_statistics_are_those_of_the_training_pixels(tmp_path: Path) -> None:
    write_files(tmp_path, "kmnist")
    dataset = load_dataset("kmnist", tmp_path, offline=True)
    pixels = small_images(TRAIN, 0) / 255
    assert dataset.mean == round(float(pixels.mean()), 4)
    assert dataset.std == round(float(pixels.std()), 4)


def test_statistics_of_known_pixels() -> None:
    assert pixel_statistics(torch.tensor([[0, 255], [0, 255]], dtype=torch.uint8)) == (0.5, 0.5)


def test_real_mnist(mnist_root: Path) -> None:
    dataset = load_dataset("mnist", mnist_root, offline=True)
    assert dataset.train_images.shape == (60000, 28, 28)
    assert dataset.test_images.shape == (10000, 28, 28)
    assert dataset.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert dataset.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert torch.bincount(dataset.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (dataset.mean, dataset.std) == (0.1307, 0.3081)
    assert load_dataset("auto", mnist_root, offline=True).name == "mnist"
    assert [check.status for check in verify("mnist", mnist_root)] == ["ok"] * 4


def test_real_mnist_with_one_changed_pixel(mnist_root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (mnist_root / "MNIST" / "raw").glob("*-ubyte"):
        if file.name.startswith("t10k-images"):
            content = bytearray(file.read_bytes())
            content[5_000_000] ^= 1
            (raw / file.name).write_bytes(content)
        else:
            (raw / file.name).symlink_to(file.resolve())
    for name in ("mnist", "auto"):
        with pytest.raises(DataError, match="t10k-images-idx3-ubyte is altered"):
            load_dataset(name, tmp_path, offline=True)
    assert [check.status for check in verify("mnist", tmp_path)] == ["ok", "ok", "altered", "ok"]


@pytest.mark.parametrize("flips", [10, pytest.param(500, marks=pytest.mark.long)])
def test_no_flipped_bit_of_the_real_mnist_loads(mnist_root: Path, tmp_path: Path, flips: int) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    paths = [Path(shutil.copy(mnist_root / relative, raw)) for relative in catalog.relative_paths("mnist")]
    random = np.random.RandomState(0)
    for number in range(flips):
        path = paths[number % 4]
        place = random.randint(path.stat().st_size * 8)
        flip_bit(path, place)
        with pytest.raises(DataError, match=f"{path.name} is ") as caught:
            load_dataset("mnist", tmp_path, offline=True)
        assert "\n" not in str(caught.value)
        flip_bit(path, place)
    assert load_dataset("mnist", tmp_path, offline=True).name == "mnist"


def flip_bit(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place // 8)
        byte = file.read(1)[0] ^ (1 << place % 8)
        file.seek(place // 8)
        file.write(bytes([byte]))


# What is refused


def replace_file(folder: Path, file: str, content: bytes) -> Path:
    (folder / file).write_bytes(content)
    return folder / file


def zero_pictures(folder: Path) -> Path:
    return replace_file(folder, "train-images-idx3-ubyte", idx_bytes(np.zeros((TRAIN, 28, 28), np.uint8))).parent


def a_directory(folder: Path) -> Path:
    path = folder / "t10k-images-idx3-ubyte"
    path.unlink()
    path.mkdir()
    return path


FAULTS: dict[str, Callable[[Path], Path]] = {
    "label 255": lambda folder: replace_file(
        folder, "train-labels-idx1-ubyte", idx_bytes(np.append(small_labels(TRAIN - 1), 255).astype(np.uint8))
    ),
    "label 10": lambda folder: replace_file(
        folder, "t10k-labels-idx1-ubyte", idx_bytes(np.append(small_labels(TEST - 1), 10).astype(np.uint8))
    ),
    "fewer labels": lambda folder: replace_file(folder, "train-labels-idx1-ubyte", idx_bytes(small_labels(TRAIN - 1))),
    "more labels": lambda folder: replace_file(folder, "t10k-labels-idx1-ubyte", idx_bytes(small_labels(TEST + 1))),
    "test labels for training": lambda folder: Path(
        shutil.copy(folder / "t10k-labels-idx1-ubyte", folder / "train-labels-idx1-ubyte")
    ),
    "27x27": lambda folder: replace_file(
        folder, "train-images-idx3-ubyte", idx_bytes(np.zeros((TRAIN, 27, 27), np.uint8))
    ),
    "28x27": lambda folder: replace_file(
        folder, "t10k-images-idx3-ubyte", idx_bytes(np.zeros((TEST, 28, 27), np.uint8))
    ),
    "images in place of labels": lambda folder: Path(
        shutil.copy(folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte")
    ),
    "empty": lambda folder: replace_file(folder, "t10k-labels-idx1-ubyte", b""),
    "truncated": lambda folder: replace_file(folder, "train-images-idx3-ubyte", idx_bytes(small_images(TRAIN))[:-1]),
    "trailing bytes": lambda folder: replace_file(
        folder, "train-images-idx3-ubyte", idx_bytes(small_images(TRAIN)) + b"\x00"
    ),
    "web page": lambda folder: replace_file(folder, "train-images-idx3-ubyte", b"<!DOCTYPE html><html></html>"),
    "directory": a_directory,
    "one grey level": zero_pictures,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_dataset_is_refused(tmp_path: Path, fault: str) -> None:
    """By a set of which no digest is known."""
    path = FAULTS[fault](write_files(tmp_path, "fashion-mnist"))
    with pytest.raises(DataError) as caught:
        load_dataset("fashion-mnist", tmp_path, offline=True)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    if fault != "one grey level":  # each file is whole then
        assert "`mnist-fast data fetch fashion-mnist`" in str(caught.value)
        with pytest.raises(DataError, match="mnist-fast data fetch"):
            fetch("fashion-mnist", tmp_path, offline=True)
        assert {check.status for check in verify("fashion-mnist", tmp_path) if check.path == path} == {"damaged"}
        assert [check.status for check in verify("fashion-mnist", tmp_path)].count("ok") == 3


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_damaged_mnist_is_refused_by_auto_too(small_mnist: Path, fault: str, name: str) -> None:
    path = FAULTS[fault](small_mnist / "MNIST" / "raw")
    with pytest.raises(DataError) as caught:
        load_dataset(name, small_mnist, offline=True)
    assert str(path) in str(caught.value)


def test_altered_pixels_do_not_load_as_mnist(small_mnist: Path) -> None:
    assert len(load_dataset("auto", small_mnist, offline=True).train_images) == TRAIN
    path = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="train-images-idx3-ubyte is altered"):
        load_dataset("mnist", small_mnist, offline=True)
    statuses = [check.status for check in verify("mnist", small_mnist)]
    assert statuses == ["altered", "ok", "ok", "ok"]


def test_letters_labelled_from_zero_are_refused(tmp_path: Path) -> None:
    contents = small_contents("emnist-letters")
    contents["emnist-letters-train-labels-idx1-ubyte"] = idx_bytes(small_labels(TRAIN))
    write_files(tmp_path, "emnist-letters", contents)
    with pytest.raises(DataError, match="holds the label 0; labels here go from 1 to 26"):
        load_dataset("emnist-letters", tmp_path, offline=True)


@pytest.mark.parametrize("name", [name for name in DATASET_NAMES if name not in ("auto", "digits")])
def test_missing_dataset(tmp_path: Path, name: str) -> None:
    root = tmp_path / "nothing"
    with pytest.raises(DataError) as caught:
        load_dataset(name, root, offline=True)
    message = str(caught.value)
    assert name in message
    assert "offline" in message
    assert "--data-dir" in message
    for relative in catalog.relative_paths(name):
        assert str((root / relative).parent) in message
        assert Path(relative).name in message
    assert {check.status for check in verify(name, root)} == {"missing"}
    assert not root.exists()


def test_incomplete_mnist_is_refused_by_auto_too(small_mnist: Path) -> None:
    (small_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    for name in ("mnist", "auto"):
        with pytest.raises(DataError, match=r"incomplete.*t10k-labels-idx1-ubyte"):
            load_dataset(name, small_mnist, offline=True)


def test_auto_without_mnist_is_digits_and_says_why(tmp_path: Path) -> None:
    dataset = load_dataset("auto", tmp_path, offline=True)
    assert dataset.name == "digits"
    for part in ("mnist", str(tmp_path / "MNIST" / "raw"), "offline", "scikit-learn", "1,797", "8x8 enlarged to 28x28"):
        assert part in dataset.source
    assert "\n" not in dataset.source
    assert "--data-dir" not in dataset.source


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_data_directory_that_is_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(DataError, match=f"{path} is a file"):
        load_dataset(name, path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
def test_directory_without_permission(small_mnist: Path) -> None:
    folder = small_mnist / "MNIST" / "raw"
    folder.chmod(0)
    try:
        for name in ("mnist", "auto"):
            with pytest.raises(DataError, match=r"cannot read .*Permission denied"):
                load_dataset(name, small_mnist, offline=True)
    finally:
        folder.chmod(0o700)


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"'mnits'.*fashion-mnist"):
        load_dataset("mnits")
    for function in (fetch, verify):
        with pytest.raises(UsageError, match="'auto'"):
            function("auto")


# Where data are looked for


def test_default_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_FAST_DATA", str(tmp_path))
    assert default_data_dir() == tmp_path
    write_files(tmp_path, "kmnist")
    assert str(tmp_path) in load_dataset("kmnist", offline=True).source
    monkeypatch.setenv("MNIST_FAST_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_data_dir() == tmp_path / "cache" / "mnist-fast" / "data"


def test_data_dir_with_tilde_and_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "here", "kmnist")
    for given in ("~/here", "here", Path("here"), str(tmp_path / "here")):
        assert str(tmp_path / "here" / "KMNIST") in load_dataset("kmnist", given, offline=True).source


def test_fetch_of_what_is_there(small_mnist: Path) -> None:
    paths = fetch("mnist", small_mnist, offline=True)
    assert paths == [small_mnist / relative for relative in catalog.relative_paths("mnist")]
    assert fetch("digits", small_mnist, offline=True) == verify("digits", small_mnist) == []


# What need not be there


def test_names_without_torch() -> None:
    script = "import sys; sys.argv = ['mnist-fast']; import mnist_fast.data; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_files_on_disk_load_without_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_torchvision(tmp_path, monkeypatch)
    for name in ("fashion-mnist", "emnist-letters", "qmnist"):
        write_files(tmp_path / name, name)
        assert len(load_dataset(name, tmp_path / name).test_images) == TEST


@pytest.mark.parametrize("name", ["emnist-digits", "qmnist", "usps"])
def test_broken_torchvision_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    break_torchvision(tmp_path, monkeypatch)
    with pytest.raises(DataError) as caught:
        load_dataset(name, tmp_path)
    assert "torchvision" in str(caught.value)
    assert "operator torchvision::nms does not exist" in str(caught.value)
    assert "\n" not in str(caught.value)


def break_torchvision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a torchvision on the path that fails as one built for another torch does."""
    package = folder / "broken" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist\\n")')
    monkeypatch.syspath_prepend(package.parent)
    for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, module)


def test_catalogue_is_torchvisions(torchvision_datasets: object) -> None:
    for name, cls in (("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")):
        theirs, ours = getattr(torchvision_datasets, cls), catalog.IDX_SETS[name]
        assert list(ours.mirrors) == theirs.mirrors
        assert [(f"{file.name}.gz", file.md5) for file in ours.files] == theirs.resources
        assert ours.folder == f"{cls}/raw"
    for name in ("fashion-mnist", "kmnist"):
        cls = {"fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}[name]
        assert list(catalog.classes_of(name)) == getattr(torchvision_datasets, cls).classes
    splits = torchvision_datasets.USPS.split_list.values()
    assert {file: md5 for _, file, md5 in splits} == catalog.USPS_FILES
    letters = torchvision_datasets.EMNIST.classes_split_dict["letters"]
    assert list(catalog.classes_of("emnist-letters")) == letters[1:]
