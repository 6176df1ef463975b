"""mnist_fast.bench.recorded and comparison: files of results, and what changed between two of them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from bench_rows import RESULTS, report, row
from click.testing import CliRunner, Result
from rich.console import Console

from mnist_fast.bench import runner
from mnist_fast.bench.comparison import print_comparison
from mnist_fast.bench.recorded import changes, read_report
from mnist_fast.cli import main
from mnist_fast.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "then.json"
    path.write_text(json.dumps(report(row())))
    return path


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (row(2.0), row(2.3), "faster"),
        (row(2.0), row(1.7), "slower"),
        (row(2.0), row(2.15), "same"),  # the intervals meet
        (row(2.0, median_ms=10.0), row(2.0, median_ms=20.0), "same"),  # all on the machine became slower alike
        (row(2.0, None), row(9.0), "unknown"),
        (row(2.0), row(None), "unknown"),
    ],
)
def test_verdicts(then: dict, now: dict, verdict: str) -> None:
    (change,) = changes([then], [now])
    assert change.verdict == verdict


@pytest.mark.parametrize(
    ("then", "now", "repeated"),
    [
        (row(2.0), row(2.05), True),
        (row(2.0), row(2.15), False),  # though the intervals meet
        (row(2.0, None), row(2.0), None),
        (row(2.0), row(None), None),
    ],
)
def test_whether_the_earlier_interval_kept_its_promise(then: dict, now: dict, repeated: bool | None) -> None:
    (change,) = changes([then], [now])
    assert change.repeated is repeated


@pytest.mark.parametrize("changed", [{"threads": 1}, {"batch_size": 8}, {"mode": "eager"}, {"precision": "bf16"}])
def test_only_rows_about_the_same_are_compared(changed: dict) -> None:
    assert changes([row()], [row(**changed)]) == []


def test_what_is_printed() -> None:
    then = report(
        row(2.0), row(2.0, layer="conv1"), row(2.0, layer="conv2"), row(None, mode="eager"), row(arch="lenet")
    )
    now = report(row(3.0), row(1.0, layer="conv1"), row(2.1, layer="conv2"), row(None, mode="eager"))
    console = Console(file=io.StringIO())
    print_comparison(then, now, console)
    text = console.file.getvalue()
    words = [line.split() for line in text.splitlines()]
    assert ["cnn", "network", "step", "64", "2", "fused", "10", "10", "2.00x", "±0.10", "3.00x", "±0.10",
            "faster"] in words  # fmt: skip
    assert sum("conv1" in line and line[-1] == "slower" for line in words) == 1
    assert "conv2" not in text
    assert "4 rows are in both: against stock 1 are faster than then, 1 slower, 1 the same" in text
    assert "1 of 3 ratios of fused modes lie in their intervals of then" in text
    assert "of 1 one side has no interval" in text
    assert "1 rows are only in the file, 0 only in this benchmark" in text
    assert "…" not in text


def test_the_widest_row_fits() -> None:
    wide = {"arch": "cnn-dropout", "pass": "forward_backward", "mode": "compile_channels_last", "median_ms": 0.12345}
    console = Console(file=io.StringIO())
    print_comparison(report(row(10.0, **wide)), report(row(12.0, **wide)), console)
    assert "10.00x ±0.10" in console.file.getvalue()
    assert "…" not in console.file.getvalue()


@pytest.mark.parametrize(
    ("then", "now", "words"), [(0.0, 0.0, None), (0.3, 0.0, "busy then:"), (0.3, 0.6, "busy then and now:")]
)
def test_a_busy_machine_is_said(then: float, now: float, words: str | None) -> None:
    reports = [report(row()), report(row())]
    for value, waited in zip(reports, (then, now), strict=True):
        value["environment"] |= {"waited_fraction": waited, "load_average": 0.0}
    console = Console(file=io.StringIO())
    print_comparison(*reports, console)
    assert ("the machine was busy" in console.file.getvalue()) == (words is not None)
    assert words is None or words in console.file.getvalue()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_recorded_results_can_be_read(path: Path) -> None:
    value = read_report(path, "bench")
    assert {change.verdict for change in changes(value["results"], value["results"])} <= {"same", "unknown"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*then.json: No such file"),
        ("{", "then.json is no JSON"),
        ("[]", "holds no results of mnist-fast bench; give a file"),
        ('{"command": "speedrun"}', "holds no results of mnist-fast bench"),
        ('{"command": "bench"}', r"is incomplete \('results'\)"),
        (
            '{"command": "bench", "environment": {"threads": 1}, "results": [{"arch": "cnn"}]}',
            r"incomplete \('layer'\)",
        ),
        ('{"command": "bench", "environment": {}, "results": [3]}', "incomplete"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "then.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message):
        read_report(path, "bench")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


def test_the_command_shows_a_file_and_compares_two(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "run_bench", lambda *_: pytest.fail("was timed"))
    now = tmp_path / "now.json"
    now.write_text(json.dumps(report(row(4.0))))
    result = invoke("--input", str(now), "--against", str(file), "--json")
    assert result.exit_code == 0, result.output
    assert "cnn, batch 64, fp32, cpu, 2 threads" in result.stdout
    assert "1 rows are in both: against stock 1 are faster than then" in result.stdout
    assert json.loads(result.stdout.splitlines()[-1]) == json.loads(now.read_text())


def test_a_file_that_cannot_be_compared_is_found_before_anything_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "run_bench", lambda *_: pytest.fail("was timed"))
    result = invoke("--against", "missing.json")
    assert result.exit_code == 2
    assert result.stderr.startswith("mnist-fast: error: cannot read missing.json")
