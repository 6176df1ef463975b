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
from simt_program import ARITHMETICS, CHECKOUT, LAYOUTS, SCHEDULES, Counts, build, problem, run

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="needs cmake and a C++ compiler on the PATH"
)

UNCOVERED = {"rectangles", "overlapping-pool", "large-window"}  # of cases.ODD: they run through the stock operators

# Layers that go to the direct kernels, unless "tensor-cores" sends them elsewhere.
SMALL = [
    case
    for case in REFERENCE + ODD + KINDS
    if case.name
    in {
        "cnn-conv1", "cnn-padded-conv1", "lenet-conv1", "lenet-conv2", "anchor-conv1", "speedrun-conv1",
        "rgb", "no-bias", "plain-convolution", "one-window", "first", "tails", "linear", "no-pooling",
    }
]  # fmt: skip
WAYS = [[], ["tensor-cores"]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("simt"))


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sanitized"), "-DMNIST_FAST_SANITIZE=address,undefined")


def check(program: Path, problems: list[str], *arguments: str, uncovered: int = 0) -> Counts:
    counts = run(program, problems, *arguments)
    assert (counts.agree, counts.uncovered) == (len(problems) - uncovered, uncovered)
    return counts


@pytest.mark.parametrize(("arithmetic", "schedule"), list(zip(ARITHMETICS, SCHEDULES, strict=True)))
def test_reference_networks(program: Path, arithmetic: str, schedule: str) -> None:
    assert check(program, [problem(case, 2, arithmetic) for case in REFERENCE], schedule).direct == 6


@pytest.mark.parametrize(("arithmetic", "schedule"), list(zip(ARITHMETICS, SCHEDULES, strict=True)))
def test_small_layers_on_tensor_cores(program: Path, arithmetic: str, schedule: str) -> None:
    problems = [problem(case, 2, arithmetic, layout=LAYOUTS[i % 3]) for i, case in enumerate(SMALL)]
    assert check(program, problems, schedule, "tensor-cores").direct == 0


def test_which_layers_are_small(program: Path) -> None:
    """Few input channels and weights, filters of 3 or 5, stride 1, windows side by side: nothing else decides."""
    for arithmetic in ("bfloat16", "float32"):
        for case in REFERENCE + ODD + KINDS:
            direct = run(program, [problem(case, 0, arithmetic)], "in-order").direct
            assert direct == (case in SMALL), case.name
    edge = Block("edge", 6, 9, 9, 17, (5, 5))
    others = [edge, replace(edge, o=18), replace(edge, c=7, o=14), replace(edge, c=8, o=1), replace(edge, w=200)]
    direct = [check(program, [problem(case, 1, "bfloat16")], "in-order").direct for case in others]
    assert direct == [1, 0, 1, 0, 0]


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS, ids=["", "tensor-cores"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_reference_networks_in_every_way(program: Path, arithmetic: str, layout: str, way: list[str]) -> None:
    problems = [
        problem(case, n, arithmetic, operands, layout, multiprocessors)
        for case in (SMALL if way else REFERENCE)
        for n, operands, multiprocessors in ((4, "integers", 1), (3, "normals", 2), (2, "nonfinite", 132))
    ]
    check(program, problems, *SCHEDULES, *way)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_odd_shapes_under_every_schedule(program: Path, arithmetic: str) -> None:
    problems = [
        problem(case, 3, arithmetic, "integers", LAYOUTS[i % 3], 1 + i % 2) for i, case in enumerate(ODD + KINDS)
    ]
    check(program, problems, *SCHEDULES, uncovered=len(UNCOVERED))


@pytest.mark.parametrize("operands", ["normals", "nonfinite"])
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_odd_shapes_on_other_numbers(program: Path, arithmetic: str, operands: str) -> None:
    problems = [problem(case, 2, arithmetic, operands, LAYOUTS[i % 3]) for i, case in enumerate(ODD + KINDS)]
    check(program, problems, "random", uncovered=len(UNCOVERED))


def test_which_shapes_are_covered(program: Path) -> None:
    uncovered = {case.name for case in ALL if run(program, [problem(case, 0, "float32")], "in-order").uncovered}
    assert uncovered == UNCOVERED


def test_blocks_of_many_channels(program: Path) -> None:
    """Several blocks of threads along the rows and columns of the products."""
    deep = Block("deep", 72, 6, 7, 80, (3, 3), padding=(1, 1))
    wide = replace(deep, name="wide", c=130, o=9, pool_size=(1, 1))
    problems = [problem(case, 1, a, layout="views") for case in (deep, wide) for a in ("bfloat16", "float32")]
    check(program, problems, "starve")


def test_items_of_many_images_and_many_bands(program: Path) -> None:
    tiny_first, tall_first, unpooled = KINDS[0], replace(REFERENCE[2], o=9), replace(REFERENCE[0], o=5, relu=False)
    tiny, tall = KINDS[2], Block("tall", 8, 150, 90, 16, (3, 3))
    problems = [
        problem(replace(case, h=h, w=w), n, arithmetic, layout=layout, multiprocessors=multiprocessors)
        for arithmetic in ("bfloat16", "float32")
        for layout in LAYOUTS
        for case, h, w, n, multiprocessors in (
            (tiny, 5, 5, 40, 2), (tall, 150, 90, 1, 16),
            # direct
            (tiny_first, 7, 6, 90, 2), (SMALL[3], 9, 8, 45, 1), (tall_first, 90, 41, 1, 16), (unpooled, 45, 17, 3, 7),
        )
    ]  # fmt: skip
    assert check(program, problems, "starve", "reversed").direct == 4 * 6


LAUNCHES = {
    "tensor-cores": [
        "packing of weights",
        "conv_relu_maxpool2d forward",
        "conv_relu_maxpool2d weight gradient",
        "conv_relu_maxpool2d sum of weight gradients",
        "packing of weights",
        "conv_relu_maxpool2d input gradient",
    ],
    "direct": [
        "conv_relu_maxpool2d forward",
        "conv_relu_maxpool2d weight gradient",
        "conv_relu_maxpool2d sum of weight gradients",
        "conv_relu_maxpool2d input gradient",
    ],
}


@pytest.mark.parametrize(
    ("kernels", "launches"), [(kernels, i) for kernels, names in LAUNCHES.items() for i in range(len(names))]
)
def test_a_launch_that_fails_names_its_kernel(program: Path, kernels: str, launches: int) -> None:
    case = KINDS[0 if kernels == "direct" else 2]
    result = subprocess.run(
        [program, "in-order", f"failing-launch={launches}"], input=problem(case, 1, "bfloat16"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.endswith(f": {LAUNCHES[kernels][launches]}: invalid configuration argument\n")


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


def drawn(count: int, seed: int, largest_work: float, *, small: bool = False) -> list[str]:
    """Problems; small: such as the direct kernels cover."""
    generator = random.Random(seed)
    problems: list[str] = []
    while len(problems) < count:
        case, n = any_block(generator.choice, largest_work, cuda=generator.random() < 0.8)
        if small:
            k, pool = generator.choice([3, 5]), generator.choice([1, 2, 3])
            case = replace(
                case, c=generator.choice([1, 1, 2, 3, 6, 7]), k=(k, k), stride=(1, 1), pool_size=(pool, pool),
                pool_stride=None, padding=(generator.randrange(k), generator.randrange(k)),
                h=max(case.h, k + pool), w=max(case.w, k + pool),
            )  # fmt: skip
            case = replace(case, o=min(case.o, 2560 // (case.c * k * k)))
        problems.append(
            problem(
                case, n, generator.choice(ARITHMETICS), generator.choice(["integers", "integers", "normals"]),
                generator.choice(LAYOUTS), generator.choice([1, 2, 7]),
            )
        )  # fmt: skip
    return problems


@pytest.mark.parametrize("way", WAYS, ids=["", "tensor-cores"])
def test_drawn_shapes(program: Path, way: list[str]) -> None:
    counts = run(program, drawn(60, 0, 2e5), "random", "starve", *way)
    assert counts.agree + counts.uncovered == 60
    assert counts.agree > 40


def test_drawn_small_shapes(program: Path) -> None:
    assert check(program, drawn(60, 1, 2e5, small=True), "random", "starve").direct == 60


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS, ids=["", "tensor-cores"])
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_drawn_shapes(program: Path, seed: int, way: list[str]) -> None:
    counts = run(program, drawn(400, seed, 1e6), *SCHEDULES, *way)
    assert counts.agree + counts.uncovered == 400
    assert counts.agree > 250


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_drawn_small_shapes(program: Path, seed: int) -> None:
    counts = run(program, drawn(400, seed, 1e6, small=True), *SCHEDULES)  # a few exceed shared memory
    assert counts.agree + counts.uncovered == 400
    assert counts.direct > 390


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS, ids=["", "tensor-cores"])
def test_sanitizers_find_nothing(sanitized: Path, way: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ASAN_OPTIONS", "detect_stack_use_after_return=0")
    problems = [
        problem(case, 2, arithmetic, operands, LAYOUTS[i % 3])
        for i, case in enumerate(ODD + KINDS + REFERENCE[4:6])
        for arithmetic in ARITHMETICS
        for operands in ("integers", "nonfinite")
    ]
    problems += [*drawn(60, 9, 1e5), *drawn(60, 10, 1e5, small=True)]
    counts = run(sanitized, problems, "in-order", "starve", *way)
    assert counts.agree > len(problems) * 3 // 4
    assert (counts.direct > 100) is (way == [])
