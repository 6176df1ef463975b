"""The parts of bench/gpu.sh that need no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent / "bench"


def test_without_nvcc_the_script_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "CUDA_HOME": str(tmp_path / "no-toolkit")}
    result = subprocess.run(
        [BENCH / "gpu.sh", tmp_path / "results"], env=environment, capture_output=True, text=True, check=False
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
