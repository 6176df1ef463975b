"""Downloads, from a server on this machine: mirrors, digests, faults, processes that come at once."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np
import pytest
from data_files import TRAIN, emnist_zip, publish, small_contents, usps_bytes
from mirror import Mirror, serving

from mnist_fast.data import catalog, download, fetch, load_dataset, verify
from mnist_fast.data.download import download as download_missing
from mnist_fast.errors import DataError


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder) as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def closed_address() -> str:
    """An address where nobody answers."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/"


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


FILES = set(catalog.relative_paths("mnist"))


def test_downloads_checks_and_loads(mirror: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = publish(monkeypatch, mirror.folder, mirrors=(mirror.address,))
    lines: list[str] = []
    dataset = load_dataset("auto", root, progress=lines.append)
    assert dataset.name == "mnist"
    assert len(dataset.train_images) == TRAIN
    assert tree(root) - {".download.lock"} == FILES
    for relative in FILES:
        assert (root / relative).read_bytes() == contents[Path(relative).name]
    assert lines == [f"downloading {mirror.address}{file.name}.gz" for file in catalog.IDX_SETS["mnist"].files]

    mirror.requests.clear()
    assert fetch("mnist", root) == [root / relative for relative in catalog.relative_paths("mnist")]
    assert mirror.requests == []


def test_next_mirror_stands_in(
    mirror: Mirror, root: Path, closed_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = tuple(f"{mirror.address}{fault}" for fault in ("wrong/", "short/", "absent-"))
    publish(monkeypatch, mirror.folder, mirrors=(closed_address, *faults, mirror.address))
    fetch("mnist", root)
    assert {check.status for check in verify("mnist", root)} == {"ok"}
    assert tree(root) - {".download.lock"} == FILES


def test_every_address_is_named_with_its_reason(
    mirror: Mirror, root: Path, closed_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", (5.0, 0.2))
    hang, wrong, short, absent = (f"{mirror.address}{fault}" for fault in ("hang/", "wrong/", "short/", "absent-"))
    mirrors = (closed_address, hang, wrong, short, absent)
    publish(monkeypatch, mirror.folder, mirrors=mirrors)
    with pytest.raises(DataError) as caught:
        load_dataset("mnist", root)
    message = str(caught.value)
    file = "train-images-idx3-ubyte.gz"
    page = hashlib.md5(b"<html>Please log in</html>").hexdigest()
    reasons = [
        (closed_address, "Connection refused"),
        (hang, "timed out"),
        (wrong, f"what came is not the published file (its MD5 is {page}, not "),
        (short, ""),  # worded by urllib3
        (absent, "HTTP 404 Not Found"),
    ]
    for address, reason in reasons:
        assert f"{address}{file}: {reason}" in message
    assert str(root / "MNIST" / "raw") in message
    assert "\n" not in message
    assert tree(root) == {".download.lock"}  # nothing half done
    assert all(file in request for request in mirror.requests)  # no need to ask for the other three

    dataset = load_dataset("auto", root)
    assert dataset.name == "digits"
    assert all(f"{address}{file}" in dataset.source for address in mirrors)


def test_offline_asks_nobody(mirror: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, mirror.folder, mirrors=(mirror.address,))
    for name in ("mnist", "kmnist", "qmnist", "usps"):
        for function in (load_dataset, fetch):
            with pytest.raises(DataError, match="offline"):
                function(name, root, offline=True)
    assert load_dataset("auto", root, offline=True).name == "digits"
    assert mirror.requests == []
    assert not root.exists()


def test_only_missing_files_are_fetched(mirror: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = publish(monkeypatch, mirror.folder, mirrors=(mirror.address,))
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-labels-idx1-ubyte").write_bytes(contents["train-labels-idx1-ubyte"])
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(contents["t10k-labels-idx1-ubyte"]))
    fetch("mnist", root)
    assert mirror.requests == ["/train-images-idx3-ubyte.gz", "/t10k-images-idx3-ubyte.gz"]


def test_damaged_file_is_neither_replaced_nor_downloaded(
    mirror: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, mirror.folder, mirrors=(mirror.address,))
    fetch("mnist", root)
    mirror.requests.clear()
    path = root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(b"precious")
    for name in ("mnist", "auto"):
        with pytest.raises(DataError, match=str(path)):
            load_dataset(name, root)
    with pytest.raises(DataError, match=str(path)):
        fetch("mnist", root)
    assert path.read_bytes() == b"precious"
    assert mirror.requests == []


def test_incomplete_and_unreachable(root: Path, closed_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "served").mkdir()
    contents = publish(monkeypatch, root.parent / "served", mirrors=(closed_address,))
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-labels-idx1-ubyte").write_bytes(contents["train-labels-idx1-ubyte"])
    for name in ("mnist", "auto"):
        with pytest.raises(DataError, match="incomplete") as caught:
            load_dataset(name, root)
        assert f"{closed_address}train-images-idx3-ubyte.gz: Connection refused" in str(caught.value)


def test_leftovers_of_a_killed_process_are_removed(mirror: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, mirror.folder, mirrors=(mirror.address,))
    leftover = root / ".download-killed"
    leftover.mkdir(parents=True)
    (leftover / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    fetch("mnist", root)
    assert not leftover.exists()


def test_waits_for_another_process_and_says_so(mirror: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, mirror.folder, mirrors=(mirror.address,))
    root.mkdir()
    lock = filelock.FileLock(root / ".download.lock")
    lines: list[str] = []

    def progress(line: str) -> None:
        lines.append(line)
        if line.startswith("waiting"):
            assert mirror.requests == []
            lock.release()

    lock.acquire()
    fetch("mnist", root, progress=progress)
    assert lines[0] == f"waiting for another process that is downloading into {root}"
    assert len(mirror.requests) == 4


def test_eight_processes_at_once(mirror: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one gets the whole files, and each file is asked for once."""
    contents = publish(monkeypatch, mirror.folder, mirrors=(mirror.address,))
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        import pytest
        from data_files import publish
        from mnist_fast.data import fetch

        served, root, address = sys.argv[2:]
        publish(pytest.MonkeyPatch(), Path(served), mirrors=(address,))
        children = []
        for _ in range(8):
            child = os.fork()
            if not child:
                status = 1
                try:
                    status = 0 if len(fetch("mnist", root)) == 4 else 2
                finally:
                    os._exit(status)
            children.append(child)
        sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
        """
    )
    arguments = [str(Path(__file__).parent), str(mirror.folder), str(root), mirror.address]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, timeout=120)
    assert sorted(mirror.requests) == sorted(f"/{file}.gz" for file in contents)
    assert tree(root) - {".download.lock"} == FILES


# Directories that cannot be written to


@pytest.mark.parametrize("name", ["mnist", "qmnist"])
def test_below_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"cannot write below {tmp_path}/file/sub: Not a directory") as caught:
        fetch(name, tmp_path / "file" / "sub")
    assert "\n" not in str(caught.value)
    assert "file/sub: Not a directory" in load_dataset("auto", tmp_path / "file" / "sub").source


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every directory")
def test_read_only_directory(root: Path) -> None:
    root.mkdir(mode=0o500)
    with pytest.raises(DataError, match=f"cannot write below {root}: Permission denied"):
        fetch("mnist", root)


def test_full_disk(mirror: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of files stands for it."""
    publish(monkeypatch, mirror.folder, mirrors=(mirror.address,))
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(DataError, match=f"cannot write below {root}: File too large"):
            fetch("mnist", root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tree(root) == {".download.lock"}


# What torchvision downloads


@pytest.fixture
def vision(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """Small published files for torchvision's own classes; skips where torchvision cannot be imported."""
    try:
        from torchvision import datasets
    except Exception as error:
        pytest.skip(f"torchvision cannot be imported: {error}")

    def md5(file: str) -> str:
        return hashlib.md5((mirror.folder / file).read_bytes()).hexdigest()

    emnist_zip(mirror.folder / "gzip.zip")
    monkeypatch.setattr(datasets.EMNIST, "url", f"{mirror.address}gzip.zip")
    monkeypatch.setattr(datasets.EMNIST, "md5", md5("gzip.zip"))

    for file, content in small_contents("qmnist").items():
        (mirror.folder / f"{file}.gz").write_bytes(gzip.compress(content))
    resources = {
        split: [
            (f"{mirror.address}{Path(url).name}", md5(Path(url).name)) for url, _ in datasets.QMNIST.resources[split]
        ]
        for split in ("train", "test")
    }
    monkeypatch.setattr(datasets.QMNIST, "resources", resources)

    splits = {}
    for split, (_, file, _) in datasets.USPS.split_list.items():
        images = np.random.RandomState(0).randint(0, 256, (20, 16, 16)).astype(np.uint8)
        (mirror.folder / file).write_bytes(usps_bytes(np.arange(20) % 10 + 1, images))
        splits[split] = [f"{mirror.address}{file}", file, md5(file)]
        monkeypatch.setitem(catalog.USPS_FILES, file, md5(file))
    monkeypatch.setattr(datasets.USPS, "split_list", splits)
    return mirror


@pytest.mark.parametrize("name", ["emnist-digits", "emnist-letters", "qmnist", "usps"])
def test_through_torchvision(vision: Mirror, root: Path, name: str) -> None:
    dataset = load_dataset(name, root)
    assert dataset.name == name
    assert dataset.train_images.shape[1:] == (28, 28)
    assert dataset.train_labels.min() == 0
    assert {check.status for check in verify(name, root)} == {"ok"}
    vision.requests.clear()
    load_dataset(name, root)
    assert vision.requests == []
    assert not list(root.glob(".download-*"))


def test_one_emnist_archive_serves_both_sets(vision: Mirror, root: Path) -> None:
    fetch("emnist-letters", root)
    assert load_dataset("emnist-digits", root, offline=True).classes == tuple("0123456789")
    wanted = {*catalog.relative_paths("emnist-digits"), *catalog.relative_paths("emnist-letters")}
    assert tree(root) - {".download.lock"} == wanted


@pytest.mark.parametrize("name", ["emnist-digits", "qmnist", "usps"])
@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_torchvision_fails(vision: Mirror, root: Path, name: str, fault: str) -> None:
    for file in vision.folder.iterdir():
        if fault == "missing":
            file.unlink()
        else:
            file.write_bytes(b"<html></html>")
    with pytest.raises(DataError) as caught:
        fetch(name, root)
    assert vision.address in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tree(root) == {".download.lock"}


def test_torchvision_gets_a_time_out(vision: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets.EMNIST, "url", f"{vision.address}hang/gzip.zip")
    monkeypatch.setattr("mnist_fast.data.vision._TIMEOUT_SECONDS", 0.2)
    with pytest.raises(DataError, match=r"hang/gzip\.zip: timed out"):
        download_missing("emnist-digits", root, print)
    assert socket.getdefaulttimeout() is None
