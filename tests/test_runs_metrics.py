"""The metrics of a run: no record missing, torn or twice, whatever happened to the files in between."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from mnist_fast.files import OutputError
from mnist_fast.runs.metrics import MetricsLog

RECORDS: list[dict[str, Any]] = [
    {"event": "loss", "step": 1, "loss": 2.5},
    {"event": "loss", "step": 2, "loss": 0.125},
    {"event": "epoch", "step": 2, "test_accuracy": 0.5},
    {"event": "loss", "step": 3, "loss": 1e-9},
]


def _log(directory: Path, records: list[dict[str, Any]]) -> MetricsLog:
    log = MetricsLog(directory)
    for record in records:
        log.append(record)
    return log


def _read(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_the_table_has_a_row_for_each_record_and_a_column_for_each_name(tmp_path: Path) -> None:
    _log(tmp_path, RECORDS)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{name: value for name, value in row.items() if value} for row in rows] == [
        {name: str(value) for name, value in record.items()} for record in RECORDS
    ]
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "event,step,loss,test_accuracy"


def test_going_on_from_a_mark_drops_what_came_after(tmp_path: Path) -> None:
    mark = _log(tmp_path, RECORDS[:3]).mark()
    _log(tmp_path, RECORDS[3:])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "lo')  # killed here
    log = MetricsLog(tmp_path)
    assert log.rewind(2, mark) is None
    assert _read(tmp_path) == RECORDS[:3]
    log.append(RECORDS[3])
    assert _read(tmp_path) == RECORDS
    again = MetricsLog(tmp_path)
    assert again.rewind(3, log.mark()) is None
    assert _read(tmp_path) == RECORDS
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 5


def test_a_run_from_the_beginning_has_no_records(tmp_path: Path) -> None:
    _log(tmp_path, RECORDS)
    assert MetricsLog(tmp_path).rewind(0, None) is None
    assert _read(tmp_path) == []
    assert (tmp_path / "metrics.csv").read_text().strip() == ""


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda content: content.replace(b"2.5", b"2.4"), [2.4, 0.125, None]),
        (lambda content: content.replace(b'"loss": 2.5}', b'"loss" 2.5}'), [0.125, None]),
        (lambda content: content[:60], [2.5]),
        (lambda content: b"", []),
        (lambda content: b"[1]\n" + content, [2.5, 0.125, None]),
    ],
)
def test_damaged_records_are_told_and_the_others_stay(damage: Any, left: list[float | None], tmp_path: Path) -> None:
    mark = _log(tmp_path, RECORDS[:3]).mark()
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    problem = MetricsLog(tmp_path).rewind(2, mark)
    assert problem is not None
    assert "metrics.jsonl was edited or is damaged" in problem
    assert [record.get("loss") for record in _read(tmp_path)] == left


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"metrics\.jsonl: No space left on device"):
        _log(tmp_path, RECORDS)
