"""``mnist-fast doctor``: what it recognises on machines that tests do not run on, by stand-ins for their parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from mnist_fast import diagnosis
from mnist_fast.cli import main
from mnist_fast.data.catalog import relative_paths
from mnist_fast.diagnosis import diagnose, report
from mnist_fast.machine import cpu_quota

MISFIT = "torch and torchvision come from different builds"
TORCHVISIONS = {
    "cpu torch": ("raise RuntimeError('operator torchvision::nms does not exist')", MISFIT),
    "other cuda": (
        "raise RuntimeError('Detected that PyTorch and torchvision were compiled with different CUDA major versions.\\n"
        "PyTorch has CUDA Version=13.2')",
        MISFIT,
    ),
    "other abi": ("raise OSError('_C.so: undefined symbol: _ZN3c10')", MISFIT),
    "other label": ("__version__ = '0.99.0+elsewhere'", MISFIT),
    "broken": ("import a_module_that_is_nowhere", "torchvision does not load"),
    "silent": ("raise RuntimeError", "torchvision does not load"),
    "fitting": ("__version__ = '0.99.0'", None),
}


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_torchvisions(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, words = TORCHVISIONS[name]
    (tmp_path / "torchvision.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torch, "__version__", "2.99.0+cu999")
    facts = diagnose()
    assert "\n" not in facts["torchvision"]
    assert facts["torchvision"].startswith(("0.99.0", "does not load: "))
    about = [line for line in facts["advice"] if "torchvision" in line]
    assert len(about) == (words is not None)
    assert all(line.startswith(words) for line in about)


def test_no_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)  # as Python marks a module that cannot be found
    facts = diagnose()
    assert facts["torchvision"] == "not installed"
    assert any(line.startswith("torchvision is needed to download EMNIST") for line in facts["advice"])


@pytest.mark.parametrize("there", [True, False])
def test_where_the_data_is(there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in relative_paths("mnist") if there else []:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("MNIST_FAST_DATA", str(tmp_path))
    facts = diagnose()
    assert facts["data_dir"] == str(tmp_path)
    assert facts["datasets"] == ("mnist" if there else "none on disk but scikit-learn's digits")
    assert any("mnist-fast data fetch mnist" in line for line in facts["advice"]) is not there


def test_the_home_directory_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MNIST_FAST_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/bin/python"))
    facts = diagnose()
    assert str(tmp_path) not in json.dumps(facts)
    assert (facts["data_dir"], facts["environment"]["MNIST_FAST_DATA"]) == ("~/data", "~/data")
    assert "(~/venv/bin/python)" in facts["python"]


@pytest.mark.parametrize(("quota", "allowed"), [(None, 4), (2.5, 2), (0.5, 1), (16.0, 4)])
def test_more_threads_than_cores(quota: float | None, allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(diagnosis, "cores", lambda: 4)
    monkeypatch.setattr(diagnosis, "cpu_quota", lambda: quota)
    facts = diagnose()
    assert f"8 threads share {allowed} cores, which slows all; set OMP_NUM_THREADS={allowed}" in facts["advice"]
    assert (f"a control group allows {quota:g}" if quota else "cores for this process") in facts["threads"]


CONTROL_GROUPS: dict[str, tuple[dict[str, str], float | None]] = {
    "none": ({}, None),
    "version 2, no limit": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    "version 2": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
    "version 2, of a parent": (
        {
            "proc/self/cgroup": "0::/user/me\n",
            "sys/fs/cgroup/user/me/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user/cpu.max": "400000 100000\n",
        },
        4,
    ),
    "version 2, the host's path": (
        {"proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"},
        0.5,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        2,
    ),
    "version 1, no limit": (
        {
            "proc/self/cgroup": "4:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
}


@pytest.mark.parametrize("name", CONTROL_GROUPS)
def test_control_groups(name: str, tmp_path: Path) -> None:
    files, quota = CONTROL_GROUPS[name]
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert cpu_quota(tmp_path) == quota


def test_kernels_that_are_missing_or_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    info = diagnosis.backend_info()
    info["cpu"] |= {"available": False, "reason": "no C++ compiler was found"}
    info["backend"] = "stock"
    monkeypatch.setattr(diagnosis, "backend_info", lambda: info)
    facts = diagnose()
    assert facts["cpu_kernels"] == "missing: no C++ compiler was found"
    assert any(line.startswith("the kernels are missing") for line in facts["advice"])
    assert any(line.startswith("MNIST_FAST_BACKEND=stock") for line in facts["advice"])


def test_text_and_json_say_the_same() -> None:
    text = CliRunner().invoke(main, ["doctor"]).stdout
    facts = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert facts.pop("command") == "doctor"
    assert text == f"{report(facts)}\n"
    for topic in ("torch", "torchvision", "compiler", "cpu_kernels", "cuda_kernels", "gpus", "threads", "data_dir"):
        assert f"\n{topic.replace('_', ' ')} " in text
        assert facts[topic] in text


def test_a_torch_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file\\nand more')")
    done = subprocess.run(
        [sys.executable, "-m", "mnist_fast", "doctor"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "mnist-fast: error: torch cannot be imported (libcudart.so.13: cannot open shared object file and more); "
        "install it anew, then mnist-fast\n"
    )
