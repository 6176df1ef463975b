"""The CUDA kernels without a GPU: run on the CPU against the reference."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cases import ALL, KINDS, ODD, REFERENCE, Block, any_block
from simt_program import ARITHMETICS, CHECKOUT, LAYOUTS, SCHEDULES, build, problem, run

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="needs cmake and a C++ compiler on the PATH"
)

UNCOVERED = {"rectangles", "overlapping-pool", "large-window"}  # of cases.ODD: they run through the stock operators


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("simt"))


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sanitized"), "-DMNIST_FAST_SANITIZE=address,undefined")


@pytest.mark.parametrize(("arithmetic", "schedule"), list(zip(ARITHMETICS, SCHEDULES, strict=True)))
def test_reference_networks(program: Path, arithmetic: str, schedule: str) -> None:
    problems = [problem(case, 2, arithmetic) for case in REFERENCE]
    assert run(program, problems, schedule) == (len(REFERENCE), 0)


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_reference_networks_in_every_way(program: Path, arithmetic: str, layout: str) -> None:
    problems = [
        problem(case, n, arithmetic, operands, layout, multiprocessors)
        for case in REFERENCE
        for n, operands, multiprocessors in ((4, "integers", 1), (3, "normals", 2), (2, "nonfinite", 132))
    ]
    assert run(program, problems, *SCHEDULES) == (3 * len(REFERENCE), 0)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_odd_shapes_under_every_schedule(program: Path, arithmetic: str) -> None:
    problems = [
        problem(case, 3, arithmetic, "integers", LAYOUTS[i % 3], 1 + i % 2) for i, case in enumerate(ODD + KINDS)
    ]
    assert run(program, problems, *SCHEDULES) == (len(problems) - len(UNCOVERED), len(UNCOVERED))


@pytest.mark.parametrize("operands", ["normals", "nonfinite"])
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_odd_shapes_on_other_numbers(program: Path, arithmetic: str, operands: str) -> None:
    problems = [problem(case, 2, arithmetic, operands, LAYOUTS[i % 3]) for i, case in enumerate(ODD + KINDS)]
    assert run(program, problems, "random") == (len(problems) - len(UNCOVERED), len(UNCOVERED))


def test_which_shapes_are_covered(program: Path) -> None:
    uncovered = {case.name for case in ALL if run(program, [problem(case, 0, "float32")], "in-order") == (0, 1)}
    assert uncovered == UNCOVERED


def test_blocks_of_many_channels(program: Path) -> None:
    """Several blocks of threads along the rows and columns of the products."""
    deep = Block("deep", 72, 6, 7, 80, (3, 3), padding=(1, 1))
    wide = replace(deep, name="wide", c=130, o=9, pool_size=(1, 1))
    problems = [problem(case, 1, a, layout="views") for case in (deep, wide) for a in ("bfloat16", "float32")]
    assert run(program, problems, "starve") == (len(problems), 0)


def test_items_of_many_images_and_many_bands(program: Path) -> None:
    tiny, tall = KINDS[2], Block("tall", 8, 150, 90, 16, (3, 3))
    problems = [problem(replace(tiny, h=5, w=5), 40, "bfloat16"), problem(tall, 1, "float32", multiprocessors=16)]
    assert run(program, problems, "starve", "reversed") == (2, 0)


@pytest.mark.parametrize(
    ("launches", "name"),
    list(
        enumerate(
            [
                "packing of weights",
                "conv_relu_maxpool2d forward",
                "conv_relu_maxpool2d weight gradient",
                "conv_relu_maxpool2d sum of weight gradients",
                "packing of weights",
                "conv_relu_maxpool2d input gradient",
            ]
        )
    ),
)
def test_a_launch_that_fails_names_its_kernel(program: Path, launches: int, name: str) -> None:
    result = subprocess.run(
        [program, "in-order", f"failing-launch={launches}"], input=problem(KINDS[2], 1, "bfloat16"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.endswith(f": {name}: invalid configuration argument\n")


def test_the_fragments_that_the_hardware_is_compared_with(tmp_path: Path) -> None:
    """bench/gpu.sh compares this output with a GPU's; here with ldmatrix as the PTX ISA words it."""
    program = tmp_path / "fragments"
    source = CHECKOUT / "tests" / "simt" / "fragments_test.cu"
    includes = [f"-I{CHECKOUT / folder}" for folder in ("csrc", "tests", "tests/simt/include")]
    options = ["-std=c++20", "-Wno-unknown-pragmas", *includes, "-x", "c++"]
    subprocess.run(["c++", *options, source, "-o", program], check=True)
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in output.splitlines()]
    assert [len(row) for row in rows] == [32] * 48
    memory = bytes(i * 37 % 251 for i in range(512))
    for matrix in range(4):
        for lane in range(32):
            at = 128 * matrix + 4 * lane
            assert rows[matrix][lane] == memory[at : at + 4][::-1].hex()


def drawn(count: int, seed: int, largest_work: float) -> list[str]:
    generator = random.Random(seed)
    problems = []
    for _ in range(count):
        case, n = any_block(generator.choice, largest_work, cuda=generator.random() < 0.8)
        problems.append(
            problem(
                case, n, generator.choice(ARITHMETICS), generator.choice(["integers", "integers", "normals"]),
                generator.choice(LAYOUTS), generator.choice([1, 2, 7]),
            )
        )  # fmt: skip
    return problems


def test_drawn_shapes(program: Path) -> None:
    agree, uncovered = run(program, drawn(60, 0, 2e5), "random", "starve")
    assert agree + uncovered == 60
    assert agree > 40


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_drawn_shapes(program: Path, seed: int) -> None:
    agree, uncovered = run(program, drawn(400, seed, 1e6), *SCHEDULES)
    assert agree + uncovered == 400
    assert agree > 250


@pytest.mark.long
def test_sanitizers_find_nothing(sanitized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ASAN_OPTIONS", "detect_stack_use_after_return=0")
    problems = [
        problem(case, 2, arithmetic, operands, LAYOUTS[i % 3])
        for i, case in enumerate(ODD + KINDS + REFERENCE[4:6])
        for arithmetic in ARITHMETICS
        for operands in ("integers", "nonfinite")
    ]
    agree, _ = run(sanitized, [*problems, *drawn(60, 9, 1e5)], "in-order", "starve")
    assert agree > len(problems) * 3 // 4
