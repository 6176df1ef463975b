"""The kernels without torch: against the reference, guard pages and sanitizers, on another processor, measured."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mnist_fast.bench.cases import NETWORK, build_cases

CHECKOUT = Path(__file__).resolve().parent.parent
CROSS_COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
KERNELS = ("forward", "weight_gradient", "input_gradient")

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="needs cmake and a C++ compiler on the PATH"
)


def run(*command: object) -> str:
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout


def build(folder: Path, *definitions: str) -> Path:
    run("cmake", "-S", CHECKOUT, "-B", folder, "-DMNIST_FAST_NATIVE_TESTS=ON", *definitions)
    run("cmake", "--build", folder, "--parallel", "2")
    return folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("native"), "-DMNIST_FAST_NATIVE_BENCH=ON")


def test_core_agrees_with_the_reference_and_stays_within_its_buffers(programs: Path) -> None:
    assert "600 problems agree" in run(programs / "core_test", 200)


@pytest.mark.long
@pytest.mark.parametrize(("sanitizer", "problems"), [("address", 100), ("undefined", 100), ("thread", 40)])
def test_sanitizers_find_nothing(tmp_path: Path, sanitizer: str, problems: int) -> None:
    program = build(tmp_path, f"-DMNIST_FAST_SANITIZE={sanitizer}") / "core_test"
    assert f"{3 * problems} problems agree" in run(program, problems)


@pytest.mark.long
@pytest.mark.skipif(shutil.which(CROSS_COMPILER) is None, reason=f"needs the cross compiler {CROSS_COMPILER}")
def test_the_portable_path_compiles_for_aarch64_and_agrees_there(tmp_path: Path) -> None:
    system = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64")
    program = build(tmp_path, *system, f"-DCMAKE_CXX_COMPILER={CROSS_COMPILER}") / "core_test"
    assert "AArch64" in run("readelf", "-h", program)
    if shutil.which(EMULATOR):
        assert "90 problems agree on scalar reference" in run(EMULATOR, "-L", "/usr/aarch64-linux-gnu", program, 30)


def benchmark(programs: Path, json_file: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """The table and the JSON of a run that measures next to nothing: only what it reports matters here."""
    table = run(programs / "native_bench", "--rounds", 1, "--sample-ms", 0.001, "--json", json_file, *options)
    return table, json.loads(json_file.read_text())


def test_benchmark_covers_the_blocks_of_the_reference_networks(programs: Path, tmp_path: Path) -> None:
    """Each block does the arithmetic that the network's own does."""
    expected = {}
    for arch in ("cnn", "cnn-padded", "lenet", "anchor", "speedrun"):
        for case in build_cases(arch, 2, device=torch.device("cpu")):
            if case.layer == NETWORK:
                continue
            block = case.fused.get_submodule(case.layer)
            flops = 2 * block.weight[0].numel()
            convolution = F.conv2d(case.input, block.weight, padding=block.padding)
            expected[f"{arch}.{case.layer}"] = (flops * convolution.numel(), flops * block(case.input).numel())

    _, report = benchmark(programs, tmp_path / "bench.json", "--batch-size", "2")
    rows = {(row["block"], row["kernel"]): row for row in report["results"]}
    assert list(rows) == [(name, kernel) for name in expected for kernel in KERNELS]
    for name, (dense, if_all_were_alive) in expected.items():
        assert rows[name, "forward"]["flops"] == dense
        for kernel in KERNELS[1:]:
            row = rows[name, kernel]
            assert row["flops"] == pytest.approx(row["alive_share"] * if_all_were_alive, rel=1e-3)
            assert 0.3 < row["alive_share"] <= 1


@pytest.mark.parametrize("isa", ["best", "scalar", "reference"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_benchmark_reports_what_it_ran(programs: Path, tmp_path: Path, isa: str, dtype: str) -> None:
    chosen = [] if isa == "best" else ["--isa", isa]
    table, report = benchmark(
        programs, tmp_path / "bench.json", *chosen, "--blocks", "lenet.conv2", "--dtype", dtype,
        "--batch-size", "2", "--threads", "2", "--memory-format", "contiguous",
    )  # fmt: skip
    ran = report["options"]
    assert (ran["dtype"], ran["batch_size"], ran["threads"], ran["memory_format"]) == (dtype, 2, 2, "contiguous")
    assert ran["isa"] == isa or (isa == "best" and ran["isa"] != "reference")
    isa_peaks = {
        peak["dtype"]: peak["gflops"]
        for peak in report["peaks"]
        if peak["isa"] == ran["isa"].replace("reference", "scalar")
    }
    peak = isa_peaks.get(dtype, isa_peaks["float32"])  # without arithmetic of its own, bfloat16 is widened
    printed = [line.split() for line in table.splitlines() if line.startswith("lenet.conv2 ")]
    assert [kernel for _, kernel, *_ in printed] == [row["kernel"] for row in report["results"]] == list(KERNELS)
    for row, (_, _, ms, gflops, percent, alive) in zip(report["results"], printed, strict=True):
        assert row["gflops"] == pytest.approx(row["flops"] / row["median_ms"] / 1e6, rel=1e-2, abs=0.01)
        assert row["peak_share"] == pytest.approx(row["gflops"] / peak, rel=1e-2, abs=1e-3)
        assert float(ms) == pytest.approx(row["median_ms"], abs=1e-4)
        assert float(gflops) == pytest.approx(row["gflops"], abs=0.1)
        assert float(percent) == pytest.approx(100 * row["peak_share"], abs=0.1)
        assert float(alive) == pytest.approx(100 * row["alive_share"], abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--blocks", "vgg"), "no block's name contains 'vgg'"),
        (("--isa", "avx9000"), "no instruction set 'avx9000'"),
        (("--dtype", "int8"), "--dtype is float32, float64 or bfloat16, got 'int8'"),
        (("--memory-format", "nchw"), "--memory-format is channels_last or contiguous, got 'nchw'"),
        (("--rounds", "0"), "--rounds takes a positive number, got '0'"),
        (("--threads",), "--threads takes a value"),
        (("--color", "red"), "no option '--color'"),
    ],
)
def test_benchmark_refuses_in_one_line(programs: Path, options: tuple[str, ...], message: str) -> None:
    result = subprocess.run([programs / "native_bench", *options], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1
