"""What documents say of the benchmark is what the newest recorded results say."""

from __future__ import annotations

import importlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from documents import ROOT


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """bench/summary.py, which finds chart.py beside itself."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("summary")


def test_documents_are_up_to_date(summary: ModuleType) -> None:
    written = summary.files()
    assert {path.name for path in written} >= {"README.md", "reading-the-benchmark.md", "steps-dark.svg"}
    stale = [str(path) for path, content in written.items() if path.read_text(encoding="utf-8") != content]
    assert not stale, "run `python bench/summary.py`"


def test_tables_follow_the_results(summary: ModuleType) -> None:
    rows = [
        {"arch": "cnn", "layer": "network", "mode": mode, "pass": "step", "batch_size": 64, "median_ms": time}
        for mode, time in {**dict.fromkeys(summary.STOCK, 8.0), "compile": 6.0, "fused": 2.0}.items()
    ]
    assert summary.speedups(summary.comparison(rows, arch="cnn")) == (3.0, 4.0)
    with pytest.raises(SystemExit, match="lack compile"):
        summary.comparison([row for row in rows if row["mode"] != "compile"], arch="cnn")
    assert summary.with_tables("a <!-- bench: steps -->\nold\n<!-- /bench --> b").startswith(
        "a <!-- bench: steps -->\n| network"
    )


def test_the_newest_results_with_the_most_threads_count(
    summary: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(name: str, date: str, **row: Any) -> None:
        row = {"layer": "network", "pass": "step", "precision": "fp32", "device": "cpu", "arch": "cnn", **row}
        report = {"environment": {"date": date}, "results": [row, {**row, "threads": 1, "mode": "one thread"}]}
        (tmp_path / "bench/results" / name).write_text(json.dumps(report))

    (tmp_path / "bench/results").mkdir(parents=True)
    monkeypatch.setattr(summary, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="no step in fp32"):
        summary.newest("fp32")
    record("z.json", "2026-01-01", mode="old", threads=2)
    record("a.json", "2026-01-02", mode="new", threads=2)
    record("b.json", "2026-01-03", mode="another precision", threads=2, precision="bf16")
    record("c.json", "2026-01-03", mode="blocks", threads=2, layer="conv1", **{"pass": "forward"})
    assert [row["mode"] for row in summary.newest("fp32")[1]] == ["new"]
    assert [row["mode"] for row in summary.newest("fp32", "block")[1]] == ["blocks"]


def test_the_chart_is_a_picture(summary: ModuleType) -> None:
    for dark in (False, True):
        chart = ElementTree.fromstring(summary.chart(dark))
        bars = chart.findall("{http://www.w3.org/2000/svg}rect")
        assert len(bars) == 2 + 2 * len(summary.networks(summary.newest("fp32")[1]))
