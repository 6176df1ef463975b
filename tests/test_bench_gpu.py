"""The parts of bench/gpu.sh that need no GPU."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCH = Path(__file__).resolve().parent.parent / "bench"
HELLO, GOODBYE, FAIL = (["echo", "hello"], ["echo", "goodbye"], ["sh", "-c", "exit 3"])


@pytest.fixture
def gpu_stages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """bench/gpu_stages.py, which finds gpu_steps.py beside itself."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("gpu_stages")


@pytest.fixture
def gpu_steps(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("gpu_steps")


@pytest.mark.parametrize(
    ("options", "remaining", "result", "printed"),
    [
        ({"commands": [HELLO, GOODBYE]}, 60, "ok", "hello\ngoodbye\n"),
        ({"commands": [HELLO, FAIL, GOODBYE]}, 60, "failed with exit code 3", "hello\n"),
        ({"commands": [HELLO, ["no-such-program"]]}, 60, "failed with exit code 127", "hello\n"),
        ({"commands": [HELLO], "needs": "no-such-program"}, 60, "left out: there is no no-such-program", None),
        ({"commands": [HELLO]}, 0, "left out: no time is left", None),
    ],
)
def test_how_a_stage_goes(
    gpu_stages: ModuleType, tmp_path: Path, options: dict[str, Any], remaining: float, result: str, printed: str | None
) -> None:
    output = tmp_path / "output"
    outcome = gpu_stages.run(gpu_stages.Stage("it", 50, output=output, **options), tmp_path, remaining)
    assert outcome.result == result
    assert (output.read_text() if output.exists() else None) == printed


@pytest.mark.parametrize(("seconds", "remaining"), [(0.2, 60), (60, 0.2)])
def test_a_stage_is_stopped_with_all_that_it_started(
    gpu_stages: ModuleType, tmp_path: Path, seconds: float, remaining: float
) -> None:
    write = "sleep 0.7; touch late"
    stage = gpu_stages.Stage("it", seconds, [["sh", "-c", f"(trap '' TERM; {write}) & {write}"], GOODBYE])
    assert gpu_stages.run(stage, tmp_path, remaining).result == "stopped after 0 s"
    time.sleep(1)
    assert not (tmp_path / "late").exists()


def test_later_stages_run_unless_they_need_one_that_failed(gpu_stages: ModuleType, tmp_path: Path) -> None:
    def results(*stages: tuple[list[str], bool]) -> list[str]:
        made = [gpu_stages.Stage(str(i), 9, [command], essential=e) for i, (command, e) in enumerate(stages)]
        return [outcome.result for outcome in gpu_stages.run_all(made, tmp_path, 60)]

    failed = "failed with exit code 3"
    assert results((HELLO, True), (FAIL, False), (HELLO, False)) == ["ok", failed, "ok"]
    assert results((FAIL, True), (HELLO, False)) == [failed, "left out: the stage '0' failed"]


def test_what_was_not_reached_is_not_in_the_table(gpu_stages: ModuleType, tmp_path: Path) -> None:
    outcomes = [gpu_stages.Outcome("build", "failed with exit code 1", 3.2)]
    found = gpu_stages.collect(tmp_path, outcomes)
    assert found == {"environment": None, "stages": [vars(outcomes[0])], "results": []}
    assert gpu_stages.table(found).split() == ["build", "3.2", "s", "failed", "with", "exit", "code", "1"]


def test_stages_of_a_gpu(gpu_stages: ModuleType, tmp_path: Path) -> None:
    """They fit together into nine minutes, and name files that are there."""
    stages = gpu_stages.stages("cuda", tmp_path, tmp_path)
    assert gpu_stages.SECONDS < 540
    assert all(stage.seconds <= 170 for stage in stages)
    words = [word for stage in stages for command in stage.commands for word in command]
    files = [Path(word) for word in words if word.endswith((".py", ".cu"))]
    assert len(files) >= 8
    assert [file for file in files if not file.exists()] == []


def test_without_nvcc_the_script_says_so(tmp_path: Path) -> None:
    changes = {"PATH": "/usr/bin:/bin", "CUDA_HOME": str(tmp_path / "no-toolkit"), "PYTHON": sys.executable}
    result = subprocess.run(
        [BENCH / "gpu.sh", tmp_path / "results"], env=os.environ | changes, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: no nvcc on the PATH or in CUDA_HOME=")


def test_steps_are_checked_measured_and_recorded(tmp_path: Path) -> None:
    options = ("--device", "cpu", "--arch", "lenet", "--batch-size", "2", "--budget", "0", "--modes", "eager,amp,fused")
    recorded = tmp_path / "gpu.json"
    result = subprocess.run(
        [sys.executable, BENCH / "gpu_steps.py", *options, "--json", recorded],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = json.loads(recorded.read_text())["results"]
    passes, modes = ("forward_backward", "step"), ("eager", "amp", "fused")
    assert [(row["pass"], row["mode"]) for row in rows] == [(p, m) for p in passes for m in modes]
    assert all(row["median_ms"] > 0 for row in rows)
    assert all(row["error"] < 1e-4 for row in rows if row["mode"] == "eager")
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [["lenet", "2", p] for p in passes]


def test_a_mode_that_is_wrong_or_breaks_has_no_times_and_the_others_have(
    gpu_steps: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = gpu_steps.Step.forward_backward

    def forward_backward(self: Any) -> torch.Tensor:
        if self.mode.fused:
            raise RuntimeError("out of\nmemory")
        loss = original(self)
        if not self.mode.amp:
            next(self.network.parameters()).grad.mul_(3)
        return loss

    monkeypatch.setattr(gpu_steps.Step, "forward_backward", forward_backward)
    rows = gpu_steps.measure("lenet", 2, ["eager", "amp", "fused"], torch.device("cpu"), 0.0)
    faults = {row["mode"]: row.get("fault") for row in rows}
    assert faults["amp"] is None
    assert faults["eager"].startswith("gradients are off by ")
    assert faults["fused"] == "RuntimeError: out of memory"
    assert gpu_steps.table(rows).splitlines()[1].split()[3::2] == ["-", "-"]


def test_small_layers_are_measured_both_ways(tmp_path: Path) -> None:
    options = ("--device", "cpu", "--layers", "speedrun.conv1,lenet.conv2", "--batch-size", "2", "--budget", "0")
    recorded = tmp_path / "layers.json"
    result = subprocess.run(
        [sys.executable, BENCH / "gpu_small_layers.py", *options, "--precision", "fp32", "--json", recorded],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = json.loads(recorded.read_text())
    layers, passes = ("speedrun.conv1", "lenet.conv2"), ("forward", "forward_backward")
    expected = [(layer, p, way) for layer in layers for p in passes for way in ("direct", "tensor_cores")]
    assert [(row["layer"], row["pass"], row["way"]) for row in rows] == expected
    assert all(row["median_ms"] > 0 for row in rows)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["µs", "direct", "tensor_cores", "ratio"]
    assert [line[:4] for line in lines[1:]] == [[layer, "2", "fp32", p] for layer in layers for p in passes]


@pytest.mark.long
def test_a_rehearsal_on_the_cpu(tmp_path: Path) -> None:
    result = subprocess.run(
        [BENCH / "gpu.sh", "--device", "cpu", tmp_path], env=os.environ | {"PYTHON": sys.executable},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [stage["result"] for stage in found["stages"]] == ["ok"] * 6
    assert {row["mode"] for row in found["results"]} == {"eager", "amp", "fused"}
    assert {row["way"] for row in found["small_layers"]} == {"direct", "tensor_cores"}
    assert len(found["train"]["epoch_seconds"]) == 1
    assert "checkpoint" not in found["train"]
    assert result.stdout.splitlines()[-1].startswith("lenet on digits: ")
