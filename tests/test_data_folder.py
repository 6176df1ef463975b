"""People's own pictures in folders of classes: which is what, what is held out, how they come to 28x28."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mnist_fast.cli import main
from mnist_fast.data import Dataset, load_dataset
from mnist_fast.errors import DataError


def write(path: Path, levels: np.ndarray | Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(levels) if isinstance(levels, np.ndarray) else levels).save(path)


def stroke(place: int, size: int = 28) -> np.ndarray:
    """A white bar on black, whose column tells the picture's number."""
    levels = np.zeros((size, size), np.uint8)
    levels[4:-4, 3 + place : 5 + place] = 255
    return levels


def write_classes(folder: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        for number in range(count):
            write(folder / name / f"{number:02}.png", stroke(number))
    return folder


def load(folder: Path) -> Dataset:
    return load_dataset(f"folder:{folder}")


def test_train_and_test_folders(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"b": 3, "A": 2, "10": 1})
    write_classes(tmp_path / "test", {"b": 2, "10": 1})
    (tmp_path / "train" / ".DS_Store").touch()
    (tmp_path / "train" / "b" / ".thumbnails").mkdir()
    (tmp_path / "README.txt").touch()
    dataset = load(tmp_path)
    assert dataset.classes == ("10", "A", "b")
    assert dataset.train_labels.tolist() == [0, 1, 1, 2, 2, 2]
    assert dataset.test_labels.tolist() == [0, 2, 2]
    expected = [stroke(0), stroke(0), stroke(1), stroke(0), stroke(1), stroke(2)]
    assert np.array_equal(dataset.train_images.numpy(), np.array(expected))  # 28x28 is taken pixel for pixel
    assert dataset.name == f"folder:{tmp_path}"
    assert dataset.source == f"6 training and 3 test images of 3 classes from {tmp_path}"


def test_one_set_of_classes_is_split(tmp_path: Path) -> None:
    counts = {"cat": 20, "dog": 10, "owl": 2}
    dataset, again = load(write_classes(tmp_path, counts)), load(tmp_path)
    assert np.bincount(dataset.test_labels).tolist() == [4, 2]
    assert np.bincount(dataset.train_labels).tolist() == [16, 8, 2]
    assert again.test_images.equal(dataset.test_images)
    everything = [(name, picture.tobytes()) for name, count in counts.items() for picture in map(stroke, range(count))]
    parts = [(dataset.train_images, dataset.train_labels), (dataset.test_images, dataset.test_labels)]
    found = [
        (dataset.classes[label], picture.numpy().tobytes())
        for images, labels in parts
        for picture, label in zip(images, labels, strict=True)
    ]
    assert sorted(found) == sorted(everything)
    assert "a fifth of each class held out for testing" in dataset.source


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((56, 56), (0, 28, 0, 28)),
        ((14, 14), (0, 28, 0, 28)),
        ((56, 28), (7, 21, 0, 28)),  # wide: width before height
        ((28, 56), (0, 28, 7, 21)),
        ((3000, 10), (13, 14, 0, 28)),  # of a line at least one row is left
    ],
)
def test_other_sizes_fit_into_the_middle_of_black(tmp_path: Path, size: tuple[int, int], box: tuple[int, ...]) -> None:
    for name in ("a", "b"):
        write(tmp_path / "test" / name / "0.png", stroke(0))
        for number in range(20):  # enough dark borders for white not to be taken for paper
            write(tmp_path / "train" / name / f"1{number}.png", stroke(number))
    write(tmp_path / "train" / "a" / "0.png", Image.new("L", size, 255))
    picture = load(tmp_path).train_images[0].numpy()
    top, bottom, left, right = box
    assert np.all(picture[top:bottom, left:right] == 255)
    assert picture.sum() == 255 * (bottom - top) * (right - left)


def test_dark_on_light_is_inverted_for_all_alike(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(5):
            write(tmp_path / "paper" / name / f"{number}.png", 255 - stroke(number))
            write(tmp_path / "night" / name / f"{number}.png", stroke(number))
    light, dark = load(tmp_path / "paper"), load(tmp_path / "night")
    assert light.train_images.equal(dark.train_images)
    assert light.test_images.equal(dark.test_images)
    assert ", inverted to white on black" in light.source
    assert ", inverted" not in dark.source
    write(tmp_path / "paper" / "a" / "5.png", stroke(5)[:14])  # a stray one, which is inverted as the rest
    stray = load(tmp_path / "paper")
    both = np.concatenate((stray.train_images.numpy(), stray.test_images.numpy()))
    expected = np.zeros((28, 28), np.uint8)
    expected[7:21] = 255 - stroke(5)[:14]
    assert any(np.array_equal(picture, expected) for picture in both)


def empty(root: Path) -> Path:
    (root / "c").mkdir()
    return root / "c"


def damaged(root: Path) -> Path:
    (root / "a" / "05.png").write_bytes(b"<html></html>")
    return root / "a" / "05.png"


def nested(root: Path) -> Path:
    return next(iter(write_classes(root / "a", {"sub": 1}).glob("sub")))


def one_class(root: Path) -> Path:
    write_classes(root.parent / "other", {"only": 9}).rename(root.parent / "one")
    return root.parent / "one"


def no_test(root: Path) -> Path:
    write_classes(root / "train", {"a": 1})
    return root


def unknown_in_test(root: Path) -> Path:
    write_classes(root / "train", {"a": 1, "b": 1})
    write_classes(root / "test", {"x": 1})
    return root / "test" / "x"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (empty, "is empty"),
        (damaged, "no picture"),
        (nested, "not a regular file"),
        (no_test, "no folder test"),
        (unknown_in_test, "the classes are a, b"),
    ],
)
def test_faults_are_named(tmp_path: Path, fault: object, words: str) -> None:
    root = write_classes(tmp_path / "root", {"a": 6, "b": 6})
    path = fault(root)
    result = CliRunner().invoke(main, ["train", "--dataset", f"folder:{root}", "--output", str(tmp_path / "run")])
    assert result.exit_code == 3
    line = result.stderr.splitlines()[-1]
    assert str(path) in line
    assert words in line
    assert "Traceback" not in result.output


def test_too_little(tmp_path: Path) -> None:
    for counts, words in (({"only": 9}, "two or more"), ({}, "0 classes"), ({"a": 2, "b": 2}, "too few")):
        folder = tmp_path / str(len(counts))
        folder.mkdir()
        with pytest.raises(DataError, match=words):
            load(write_classes(folder, counts))
    with pytest.raises(DataError, match=r"cannot read the folder .*none: No such file"):
        load(tmp_path / "none")
    write_classes(tmp_path / "black", {"a": 0, "b": 0})
    for name in ("a", "b"):
        for number in range(5):
            write(tmp_path / "black" / name / f"{number}.png", np.zeros((28, 28), np.uint8))
    with pytest.raises(DataError, match="the same value"):
        load(tmp_path / "black")


def test_trains_evaluates_and_keeps_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rows in (("high", slice(4, 8)), ("low", slice(20, 24)), ("mid", slice(12, 16))):
        for number in range(20):
            levels = np.zeros((28, 28), np.uint8)
            levels[rows, number % 5 + 2 : 24] = 255
            write(Path("pictures") / name / f"{number}.png", levels)
    options = ["--dataset", "folder:pictures", "--device", "cpu", "--json"]
    train = ["train", "--arch", "speedrun", *options, "--batch-size", "8", "--epochs", "4", "--output", "run"]
    trained = CliRunner().invoke(main, train)
    assert trained.exit_code == 0, trained.stderr
    summary = json.loads(trained.stdout)
    assert summary["dataset"] == f"folder:{tmp_path / 'pictures'}"
    assert summary["test_accuracy"] == 1.0
    evaluated = CliRunner().invoke(main, ["eval", "run", "--device", "cpu", "--json"])
    assert json.loads(evaluated.stdout)["test_accuracy"] == 1.0
    assert np.array(json.loads(evaluated.stdout)["confusion_matrix"]).shape == (3, 3)


@pytest.mark.parametrize("name", ["folder:", "folder", "Folder:x"])
def test_names_that_are_none(name: str) -> None:
    result = CliRunner().invoke(main, ["train", "--dataset", name])
    assert result.exit_code == 2
    assert "'folder:DIR'" in result.stderr
