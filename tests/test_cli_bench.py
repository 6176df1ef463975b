"""mnist-fast bench: options, output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from mnist_fast.bench import runner
from mnist_fast.cli import main

FAST = ["bench", "--device", "cpu", "--repeats", "1"]
ONE = [*FAST, "--arch", "speedrun", "--batch-size", "1", "--modes", "eager,fused"]
LEAST = [*ONE, "--no-layers", "--passes", "inference"]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Replaces the benchmark itself; holds the settings it was called with."""
    calls: list[object] = []

    def record(config: object, _progress: object) -> runner.BenchReport:
        calls.append(config)
        return runner.BenchReport(runner.environment(torch.device("cpu")))

    monkeypatch.setattr(runner, "run_bench", record)
    return calls


def test_table_on_stdout_progress_on_stderr() -> None:
    result = invoke(*ONE)
    assert result.exit_code == 0, result.output
    assert "speedrun, batch 1, fp32, cpu, 2 threads: median milliseconds" in result.stdout
    assert "forward_backward" in result.stdout
    assert "speedrun, batch 1: conv1 forward, visit 1 of 6\n" in result.stderr
    assert "batch 1: conv1" not in result.stdout


def test_last_line_is_json_and_the_file_holds_the_same(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    result = invoke(*LEAST, "--json", "--quiet", "--output", str(path))
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    value = json.loads(result.stdout.splitlines()[-1])
    assert value["command"] == "bench"
    assert [(row["mode"], row["pass"], row["layer"]) for row in value["results"]] == [
        ("eager", "inference", "network"),
        ("fused", "inference", "network"),
    ]
    assert json.loads(path.read_text()) == value
    assert list(tmp_path.iterdir()) == [path]


def test_lists_by_comma_and_by_repetition(untimed: list) -> None:
    options = ["--arch", "cnn, lenet", "--arch", "anchor", "--arch", "cnn", "--batch-size", "1,2", "--batch-size", "64"]
    result = invoke(*FAST, *options, "--modes", "fused,eager", "--passes", "step", "--threads", "3", "--seed", "5")
    assert result.exit_code == 0, result.output
    (config,) = untimed
    assert config.archs == ("cnn", "lenet", "anchor")
    assert config.batch_sizes == (1, 2, 64)
    assert config.modes == ("fused", "eager")
    assert config.passes == ("step",)
    assert (config.threads, config.seed, config.repeats, config.layers) == ((3,), 5, 1, True)


def test_defaults(untimed: list) -> None:
    assert invoke("bench").exit_code == 0
    (config,) = untimed
    assert config.archs == ("cnn", "cnn-padded", "lenet", "cnn-dropout", "anchor", "speedrun", "wide", "deep")
    assert config.modes == ("eager", "channels_last", "compile", "fused")
    assert config.passes == ("forward", "forward_backward", "step", "inference")
    assert (config.batch_sizes, config.device, config.precision, config.layers) == ((64,), "auto", "fp32", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "lenet,resnet"], "'resnet' is not one of 'cnn', 'cnn-padded', 'lenet'"),
        (["--arch", ""], "'' is not one of 'cnn'"),
        (["--modes", "warp"], "'warp' is not one of 'eager', 'channels_last', 'compile'"),
        (["--passes", "backward"], "'backward' is not one of 'forward', 'forward_backward'"),
        (["--precision", "fp8"], "'fp8' is not one of 'fp32', 'bf16'"),
        (["--batch-size", "8,0"], "0 is not in the range x>=1"),
        (["--batch-size", "many"], "'many' is not a valid integer"),
        (["--threads", "0"], "0 is not in the range"),
        (["--budget", "0"], "is not in the range"),
        (["--budget", "1", "--repeats", "2"], "--budget and --repeats exclude each other"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--seed", "-1"], "-1 is not in the range"),
    ],
)
def test_usage_errors(untimed: list, arguments: list[str], message: str) -> None:
    result = invoke("bench", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not untimed


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_that_is_not_there() -> None:
    result = invoke("bench", "--arch", "lenet", "--device", "cuda")
    assert result.exit_code == 2
    assert "--device cuda:" in result.stderr


@pytest.mark.parametrize("name", ["missing/result.json", ".", "/dev/null"])
def test_output_that_cannot_be_written_is_found_first(untimed: list, tmp_path: Path, name: str) -> None:
    result = invoke("bench", "--output", str(tmp_path / name))
    assert result.exit_code == 1
    assert result.stderr.startswith("mnist-fast: error: cannot write ")
    assert len(result.stderr.splitlines()) == 1
    assert not untimed
