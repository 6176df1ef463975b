"""A run's metrics: a line of JSON for each record as it comes, and the same as a table for spreadsheets."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

from mnist_fast.files import OutputError, write_atomically

JSONL = "metrics.jsonl"
CSV = "metrics.csv"


class MetricsLog:
    """``metrics.jsonl`` and, as a table with a column for each name in any record, ``metrics.csv`` in ``directory``.

    Records are only ever appended. A state of the run holds a :meth:`mark` of how far they had come, and going on from
    that state begins there again: no record is missing, torn or written twice.
    """

    def __init__(self, directory: Path) -> None:
        self._jsonl, self._csv = directory / JSONL, directory / CSV
        self._size, self._digest = 0, hashlib.sha256()
        self._columns: list[str] = []

    def append(self, record: dict[str, Any]) -> None:
        """Add one record, of plain JSON values. Raises OutputError: it cannot be written."""
        line = f"{json.dumps(record)}\n".encode()
        _append(self._jsonl, line)
        self._size += len(line)
        self._digest.update(line)
        if record.keys() <= set(self._columns):
            _append(self._csv, _table(self._columns, [record]))
        else:
            self._write_table()

    def mark(self) -> dict[str, Any]:
        """How far the records have come, once they are safe on the disk."""
        if self._jsonl.is_file():
            with self._jsonl.open("rb") as file:
                os.fsync(file.fileno())
        return {"size": self._size, "sha256": self._digest.hexdigest()}

    def rewind(self, step: int, mark: dict[str, Any] | None) -> str | None:
        """Drop what came after ``mark``, or everything.

        Returns:
            Where the records up to the mark are not what they were: what to tell the user. All that can be read and
            are not of later steps than ``step`` stay.
        """
        content = self._jsonl.read_bytes() if self._jsonl.is_file() else b""
        problem = None
        kept = b""
        if mark is not None:
            kept = content[: mark["size"]]
            if hashlib.sha256(kept).hexdigest() != mark["sha256"]:
                kept = b"".join(line for line in content.splitlines(keepends=True) if _is_up_to(line, step))
                problem = f"{self._jsonl} was edited or is damaged: records may be missing or wrong up to step {step}"
        self._size, self._digest = len(kept), hashlib.sha256(kept)
        if kept != content:
            write_atomically(self._jsonl, kept)
        self._write_table()
        return problem

    def _write_table(self) -> None:
        lines = self._jsonl.read_bytes().splitlines() if self._jsonl.is_file() else []
        records = [record for record in map(_parse, lines) if record is not None]
        self._columns = list(dict.fromkeys(name for record in records for name in record))
        header = dict(zip(self._columns, self._columns, strict=True))
        write_atomically(self._csv, _table(self._columns, [header, *records]))


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The records of the run in ``directory``, as far as they can be read; none where there is no run."""
    try:
        lines = (directory / JSONL).read_bytes().splitlines()
    except OSError:
        return []
    return [record for record in map(_parse, lines) if record is not None]


def _append(path: Path, content: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


def _table(columns: list[str], records: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(records)
    return text.getvalue().encode()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:  # the process was killed, or the disk was full, while this line was written
        return None
    return record if isinstance(record, dict) else None


def _is_up_to(line: bytes, step: int) -> bool:
    record = _parse(line)
    return record is not None and isinstance(record.get("step"), int) and record["step"] <= step
