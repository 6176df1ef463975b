"""mnist-fast speedrun: options, output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mnist_fast.bench import speedrun
from mnist_fast.cli import main


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["speedrun", *arguments])


def test_on_the_bundled_digits(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    result = invoke("--dataset", "digits", "--seeds", "2", "--seed", "3", "--modes", "channels_last,fused",
                    "--device", "cpu", "--json", "--output", str(path))  # fmt: skip
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout.splitlines()[-1])
    assert [(run["mode"], run["seed"]) for run in value["runs"]] == [
        ("channels_last", 3), ("fused", 3), ("fused", 4), ("channels_last", 4),
    ]  # fmt: skip
    assert value["dataset"] == "digits"
    assert json.loads(path.read_text()) == value
    assert "digits, 2 runs of each mode, seeds 3 to 4" in result.stdout
    assert "Not included: importing" in result.stdout
    assert "seed 3, fused: " in result.stderr


def test_quiet() -> None:
    result = invoke("--dataset", "digits", "--seeds", "1", "--modes", "fused", "--device", "cpu", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--modes", "warp"], 2, "'warp' is not one of 'eager'"),
        (["--seeds", "0"], 2, "0 is not in the range"),
        (["--device", "tpu"], 2, "tpu"),
        (["--output", "missing/result.json"], 1, "mnist-fast: error: cannot write "),
        (["--dataset", "mnist", "--data-dir", "nowhere", "--offline"], 3, "mnist is not in "),
    ],
)
def test_errors_come_before_any_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speedrun, "train", lambda *_, **__: pytest.fail("trained"))
    result = invoke("--dataset", "digits", *arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
