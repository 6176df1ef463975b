"""The states a run can go on from: one file each, the newest few kept, each under a digest of the whole file.

``torch.load(weights_only=True)`` reads them too. It would not notice a flipped bit.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mnist_fast.checkpoint import CheckpointError, unpickle
from mnist_fast.files import write_atomically

# Raise it with any change of what a state holds or means.
_FORMAT = 1


def state_files(directory: Path) -> list[Path]:
    """The states in ``directory``, the newest first."""
    return sorted(directory.glob("state-*.pt"), key=_step, reverse=True)


def save_state(directory: Path, state: dict[str, Any], *, keep: int) -> None:
    """Write the state after step ``state["step"]``, then delete all others but the ``keep - 1`` before it.

    A state of a later step goes as well: it was damaged, or the run would not have come by here again.

    Args:
        state: tensors and plain values, nested in dicts, lists and tuples.

    Raises:
        OutputError: the file cannot be written; the others are kept.
    """
    buffer = io.BytesIO()
    torch.save({**state, "format": _FORMAT}, buffer)
    path = directory / f"state-{state['step']:08d}.pt"
    write_atomically(path, _seal(buffer.getvalue()))
    for other in _superseded(state_files(directory), path, keep):
        other.unlink(missing_ok=True)


def _superseded(files: list[Path], newest: Path, keep: int) -> list[Path]:
    kept = files[files.index(newest) :][:keep]
    return [path for path in files if path not in kept]


def load_newest_state(directory: Path, warn: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest state that is whole, on the CPU; None where there is none at all.

    Args:
        warn: told of each state that is damaged, in one line.

    Raises:
        CheckpointError: there are states, and all are damaged.
    """
    damaged = []
    for path in state_files(directory):
        try:
            state = load_state(path)
        except CheckpointError as error:
            damaged.append(error)
            continue
        for problem in damaged:
            warn(f"{problem}; going on from {path.name}, the state before")
        return state
    if damaged:
        others = f", and so are the {len(damaged) - 1} before it" if len(damaged) > 1 else ""
        raise CheckpointError(f"{damaged[0]}{others}; start the run again in another --output")
    return None


def load_state(path: Path) -> dict[str, Any]:
    """Read one state onto the CPU. Raises CheckpointError: missing, damaged, or more than tensors and plain values."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read the state of the run {path}: {error.strerror}") from None
    if hashlib.sha256(content[:-64]).hexdigest().encode() != content[-64:]:
        raise CheckpointError(f"the state of the run {path} is damaged: its content does not match its digest")
    state = unpickle(path, content)
    if not isinstance(state, dict) or state.pop("format", None) != _FORMAT:
        raise CheckpointError(
            f"{path} holds no state of a run of this version; resume it with the version that wrote it"
        )
    return state


def _step(path: Path) -> int:
    digits = path.stem.removeprefix("state-")
    return int(digits) if digits.isdecimal() else -1


# torch.save writes a zip archive. It ends in a record of 22 bytes whose last two are the length of the comment that
# follows: the digest of all before it goes there, where every reader of archives expects a comment and skips it.
_END_RECORD = b"PK\x05\x06"


def _seal(content: bytes) -> bytes:
    assert content[-22:-18] == _END_RECORD
    assert content[-2:] == b"\0\0"
    body = content[:-2] + struct.pack("<H", 64)
    return body + hashlib.sha256(body).hexdigest().encode()
