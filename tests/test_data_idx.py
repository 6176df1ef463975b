"""The reader of IDX files: what it returns, and what it refuses."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_idx import DAMAGED, DAMAGED_PACKED, IMAGES, NAME, PACKED, WHOLE
from data_files import idx_bytes

from mnist_fast.data import idx
from mnist_fast.data.idx import AlteredFileError, DamagedFileError, read_idx


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_whole_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"{NAME}{suffix}"
    path.write_bytes(PACKED if suffix else WHOLE)
    images = read_idx(path, hashlib.sha256(WHOLE).hexdigest())
    assert images.dtype == torch.uint8
    assert torch.equal(images, torch.from_numpy(IMAGES))
    images.add_(1)  # writable memory


def test_big_endian_integers(tmp_path: Path) -> None:
    values = np.array([[1, -2, 70000], [3, 4, -(2**31)]], dtype=">i4")
    path = tmp_path / "qmnist-test-labels-idx2-int"
    path.write_bytes(idx_bytes(values, type_code=0x0C))
    read = read_idx(path)
    assert read.dtype == torch.int32
    assert read.tolist() == values.tolist()


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_file_is_refused(tmp_path: Path, fault: str) -> None:
    path = tmp_path / NAME
    path.write_bytes(DAMAGED[fault])
    check_refused(path)


@pytest.mark.parametrize("fault", DAMAGED_PACKED)
def test_damaged_compressed_file_is_refused(tmp_path: Path, fault: str) -> None:
    path = tmp_path / f"{NAME}.gz"
    path.write_bytes(DAMAGED_PACKED[fault])
    check_refused(path)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    directory, pipe, dangling, missing = (tmp_path / kind / NAME for kind in ("directory", "pipe", "dangling", "none"))
    directory.mkdir(parents=True)
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    dangling.parent.mkdir()
    dangling.symlink_to(tmp_path / "nowhere")
    for path in (directory, pipe, dangling, missing):
        check_refused(path)


def test_larger_than_any_dataset_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "_MAX_BYTES", len(WHOLE) - 1)
    for path, content in ((tmp_path / NAME, WHOLE), (tmp_path / f"{NAME}.gz", PACKED)):
        path.write_bytes(content)
        check_refused(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    small = idx_bytes(IMAGES[:1, :3, :3])
    for length in range(len(small)):
        path.write_bytes(small[:length])
        check_refused(path)


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    """With a known digest no flipped bit loads: 500 places in the file, the whole header among them."""
    path = tmp_path / NAME
    digest = hashlib.sha256(WHOLE).hexdigest()
    places = [*range(16 * 8), *np.random.RandomState(0).randint(0, len(WHOLE) * 8, 372).tolist()]
    for place in places:
        flipped = bytearray(WHOLE)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(DamagedFileError, match=NAME):
            read_idx(path, digest)


def test_altered_file_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(WHOLE)
    with pytest.raises(AlteredFileError, match="altered") as caught:
        read_idx(path, hashlib.sha256(b"other").hexdigest())
    assert hashlib.sha256(WHOLE).hexdigest() in str(caught.value)


def test_a_name_that_does_not_tell_the_type(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(WHOLE)
    check_refused(path)


def check_refused(path: Path) -> None:
    with pytest.raises(DamagedFileError) as caught:
        read_idx(path)
    assert not isinstance(caught.value, AlteredFileError)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
