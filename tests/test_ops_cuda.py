"""The operator on CUDA tensors: what is covered and how it is found out without a GPU, and results with one.

The kernels' results without a GPU: test_cuda_kernels.py.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from cases import ALL, KINDS, ODD, REFERENCE, Block, Tensors, any_block, integers, normals
from oracle import assert_equal, fused, run, stock
from torch._subclasses.fake_tensor import FakeTensorMode

import mnist_fast
from mnist_fast import backend_info
from mnist_fast.ops import cuda, registration
from mnist_fast.ops.functional import NoKernelError

UNCOVERED = {"rectangles", "overlapping-pool", "large-window"}  # of cases.ODD: they run through the stock operators
COVERED = [case for case in ALL if case.name not in UNCOVERED]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]

needs_library = pytest.mark.skipif(cuda.missing is not None, reason=f"no CUDA library: {cuda.missing}")
needs_gpu = pytest.mark.skipif(
    not backend_info()["cuda"]["available"], reason=f"no CUDA kernels: {backend_info()['cuda']['reason']}"
)


# --- without a GPU


def sizes(case: Block) -> tuple[int, ...]:
    stride = case.pool_stride or case.pool_size
    return case.c, case.h, case.w, case.o, *case.k, *case.stride, *case.padding, *case.pool_size, *stride


@needs_library
def test_what_is_covered() -> None:
    for element_bytes in (2, 4):
        uncovered = {case.name for case in ALL if cuda.why_not_covered(sizes(case), element_bytes)}
        assert uncovered == UNCOVERED
    deep = replace(REFERENCE[1], c=512)
    assert cuda.why_not_covered(sizes(deep), 2) == "no CUDA kernel for weights or rows of this size"


def test_a_cpu_only_torch_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(cuda.library, "missing", None)
    _, reason = cuda._load()
    assert reason is not None
    assert reason == f"torch {torch.__version__} is a CPU-only build" or not cuda.PATH.exists()


@pytest.fixture
def driver() -> Callable[[int], str | None]:
    """The real answer, before another fixture takes its place."""
    return cuda._why_not_runnable


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """torch sees a card, of compute capability 9.0, on which the driver loads our kernels."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(cuda, "_why_not_runnable", lambda device: None)
    return monkeypatch


@needs_library
@pytest.mark.parametrize(
    ("capability", "architectures", "reason"),
    [
        ((7, 5), ["80", "90"], "compute capability 7.5, needed 8.0"),
        ((8, 0), ["80", "90"], None),
        ((8, 9), ["90"], "compute capability 8.9, needed 9.0"),
        ((12, 1), ["90"], None),
    ],
)
def test_cards_older_than_the_code(
    card: pytest.MonkeyPatch, capability: tuple[int, int], architectures: list[str], reason: str | None
) -> None:
    card.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    card.setattr(cuda, "architectures", lambda: architectures)
    assert cuda.why_not_usable.__wrapped__(0) == (reason and f"no CUDA kernels for Card: {reason}")


@needs_library
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_what_the_driver_says_against_the_kernels(
    driver: Callable[[int], str | None], card: pytest.MonkeyPatch
) -> None:
    """Without any driver it says the same as one that is older than the toolkit."""
    card.setattr(cuda, "_why_not_runnable", driver)
    reason = cuda.why_not_usable.__wrapped__(0)
    assert reason is not None
    pattern = r"no CUDA kernels for Card: CUDA driver version is insufficient .* \(built with CUDA \d+\.\d+\)"
    assert re.fullmatch(pattern, reason)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_insisting_on_a_kernel_without_a_gpu() -> None:
    with FakeTensorMode():
        x, w = torch.empty(2, 1, 9, 9, device="cuda:0"), torch.empty(4, 1, 3, 3, device="cuda:0")
        with pytest.raises(NoKernelError, match=r"no CUDA kernels: |finds no CUDA device"):
            mnist_fast.conv_relu_maxpool2d(x, w, backend="fused")


def test_without_pooling_the_code_is_a_byte_for_each_value_on_cuda() -> None:
    forward = torch.ops.mnist_fast.conv_relu_maxpool2d_forward
    with FakeTensorMode():
        for device, expected in (("cuda:0", (2, 7, 7, 4)), ("cpu", (2, 7, 4))):
            x, w = torch.empty(2, 1, 9, 9, device=device), torch.empty(4, 1, 3, 3, device=device)
            y, code = forward(x, w, None, [1, 1], [0, 0], True, [1, 1], [1, 1], False, True)
            assert (tuple(y.shape), tuple(code.shape)) == ((2, 4, 7, 7), expected)


@needs_library
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm from binutils")
def test_the_library_needs_torchs_stable_abi_only() -> None:
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", cuda.PATH], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not [name for name in symbols if name.startswith(("_ZN2at", "_ZN3c10", "_ZN5torch", "_ZNK2at", "_ZNK3c10"))]
    assert any(name.startswith("aoti_torch_") for name in symbols)


@needs_library
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm from binutils")
def test_the_copy_of_the_cuda_runtime_is_its_own() -> None:
    """It loads beside a torch of another CUDA version: neither takes the other's runtime functions for its own."""
    lines = subprocess.run(["nm", "-D", cuda.PATH], capture_output=True, text=True, check=True).stdout.splitlines()
    assert not [line for line in lines if re.match("_*cu(da|dart)[A-Z]", line.split()[-1])]


@pytest.mark.parametrize("device", ["cuda:0", "cpu"])
def test_tf32_where_torch_allows_it(device: str) -> None:
    """By the setting of torch's convolutions, whichever of its two names for it was used."""
    convolutions, before = torch.backends.cudnn.conv, torch.backends.cudnn.conv.fp32_precision
    with FakeTensorMode():
        x, half = torch.empty(1, device=device), torch.empty(1, device=device, dtype=torch.float16)
        try:
            for precision in ("tf32", "ieee"):
                convolutions.fp32_precision = precision
                allowed = precision == "tf32" and device != "cpu"
                assert registration._tf32(x) == ({"allow_tf32": True} if allowed else {})
                assert registration._tf32(half) == {}
        finally:
            convolutions.fp32_precision = before
    for allow in (True, False):
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=allow), FakeTensorMode():
            assert bool(registration._tf32(torch.empty(1, device=device))) is (allow and device != "cpu")


# --- with one


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """Stock convolutions on CUDA round float32 factors by default."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def on_gpu(tensors: Tensors) -> Tensors:
    return tensors.map(lambda t: t.cuda())


def expected_of(case: Block, tensors: Tensors, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """float64 on the CPU, rounded once."""
    exact = run(stock, case, tensors.map(lambda t: t.to(dtype)), torch.float64)
    return {name: value.to(dtype) for name, value in exact.items()}


def run_on_gpu(case: Block, tensors: Tensors, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: value.cpu() for name, value in run(fused, case, on_gpu(tensors), dtype).items()}


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", COVERED, ids=str)
@pytest.mark.parametrize("n", [0, 1, 3, 64])
def test_integers_are_exact(case: Block, dtype: torch.dtype, n: int) -> None:
    tensors = integers(case, n)
    expected = expected_of(case, tensors, dtype)
    assert_equal(run_on_gpu(case, tensors, dtype), expected)
    last = tensors.map(lambda t: t.to(memory_format=torch.channels_last) if t.dim() == 4 else t)
    assert_equal(run_on_gpu(case, last, dtype), expected)


@pytest.fixture
def tensor_cores() -> Iterator[None]:
    """No direct kernels for small layers."""
    cuda.set_direct(False)
    yield
    cuda.set_direct(True)


@needs_gpu
@pytest.mark.usefixtures("tensor_cores")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", REFERENCE + KINDS, ids=str)
def test_integers_are_exact_on_tensor_cores(case: Block, dtype: torch.dtype) -> None:
    tensors = integers(case, 5)
    assert_equal(run_on_gpu(case, tensors, dtype), expected_of(case, tensors, dtype))


@needs_gpu
@pytest.mark.parametrize("case", COVERED, ids=str)
def test_integers_are_exact_with_tf32(case: Block) -> None:
    tensors = integers(case, 5)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        assert_equal(run_on_gpu(case, tensors, torch.float32), expected_of(case, tensors, torch.float32))


@needs_gpu
@pytest.mark.parametrize("seed", range(8))
def test_drawn_shapes_are_exact(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(25):
        case, n = any_block(draw.choice, cuda=True)
        dtype, memory_format = draw.choice(DTYPES), draw.choice([torch.contiguous_format, torch.channels_last])
        if cuda.why_not_covered(sizes(case), dtype.itemsize):  # a drawn layer may be too large
            continue
        tensors = integers(case, n)
        moved = tensors.map(lambda t, f=memory_format: t.to(memory_format=f) if t.dim() == 4 else t)
        assert_equal(run_on_gpu(case, moved, dtype), expected_of(case, tensors, dtype), str((case, n, dtype)))


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", REFERENCE + KINDS, ids=str)
def test_errors_are_at_most_twice_stocks(case: Block, dtype: torch.dtype) -> None:
    """Against float64 on the same operands; stock runs on the same card."""
    tensors = normals(case, 16).map(lambda t: t.to(dtype).float())
    exact = run(stock, case, tensors, torch.float64)
    ours, theirs = run_on_gpu(case, tensors, dtype), run(stock, case, on_gpu(tensors), dtype)
    floor = torch.finfo(dtype).eps
    for name, value in exact.items():
        error, stock_error = ((r[name].cpu().double() - value).norm() / value.norm() for r in (ours, theirs))
        assert error <= 2 * stock_error + floor, f"{name}: {error:.2e}, stock {stock_error:.2e}"


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", REFERENCE, ids=str)
def test_repeats_are_equal_to_the_bit(case: Block, dtype: torch.dtype) -> None:
    tensors = on_gpu(normals(case, 64))
    first = run(fused, case, tensors, dtype)
    for _ in range(20):
        assert_equal(run(fused, case, tensors, dtype), first)


@needs_gpu
def test_tensors_of_more_than_2_31_elements() -> None:
    case = KINDS[0]
    n = 2**31 // (case.c * case.h * case.w) + 2
    if torch.cuda.mem_get_info()[0] < 20 * 2**30:
        pytest.skip("needs 20 GiB of a GPU's memory")
    last = on_gpu(integers(case, 2))
    x = torch.zeros(n, case.c, case.h, case.w, dtype=torch.bfloat16, device="cuda")
    x[-2:] = last.x
    x.requires_grad_()
    g = torch.zeros(n, *last.g.shape[1:], dtype=torch.bfloat16, device="cuda")
    g[-2:] = last.g
    w = last.w.bfloat16().requires_grad_()
    y = fused(x, w, None, case)
    y.backward(g)
    expected = run(fused, case, replace(last, b=None), torch.bfloat16)
    assert torch.equal(y[-2:], expected["output"])
    assert x.grad is not None
    assert torch.equal(x.grad[-2:], expected["grad_input"])
    assert not x.grad[:-2].any()
    assert w.grad is not None
    assert torch.equal(w.grad, expected["grad_weight"])


@needs_gpu
@pytest.mark.parametrize("case", KINDS, ids=str)
def test_nan_and_infinity(case: Block) -> None:
    tensors = integers(case, 2)
    tensors.x.view(-1)[::37] = torch.tensor([float("nan"), float("inf"), float("-inf")]).repeat(999)[
        : tensors.x.view(-1)[::37].numel()
    ]
    got = fused(tensors.x.cuda(), tensors.w.cuda(), None, case).cpu()
    expected = stock(tensors.x.double(), tensors.w.double(), None, case)
    assert torch.equal(got.isnan(), expected.isnan())
    assert torch.equal(got.nan_to_num().double(), expected.float().nan_to_num().double())


@needs_gpu
def test_views_streams_and_autocast() -> None:
    case = REFERENCE[3]
    tensors = on_gpu(integers(case, 9))
    expected = fused(tensors.x, tensors.w, tensors.b, case)
    wide = torch.zeros(9, case.c, case.h, case.w + 3, device="cuda")
    wide[..., 1:-2] = tensors.x
    assert torch.equal(fused(wide[..., 1:-2], tensors.w, tensors.b, case), expected)
    assert torch.equal(fused(tensors.x[:1].expand(9, -1, -1, -1), tensors.w, tensors.b, case)[8], expected[0])
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        elsewhere = fused(tensors.x, tensors.w, tensors.b, case)
    stream.synchronize()
    assert torch.equal(elsewhere, expected)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cuda", dtype):
            low = fused(tensors.x, tensors.w.requires_grad_(), tensors.b, case)
        low.float().sum().backward()
        assert low.dtype is dtype
        assert tensors.w.grad is not None
        assert tensors.w.grad.dtype is torch.float32
        tensors.w.grad = None


@needs_gpu
def test_a_graph_records_forward_and_backward() -> None:
    case = REFERENCE[1]
    tensors = on_gpu(integers(case, 8))
    x, w = tensors.x, tensors.w.requires_grad_()

    def step() -> torch.Tensor:
        y = fused(x, w, tensors.b, case)
        return torch.autograd.grad(y, w, tensors.g)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = step()
    x.copy_(on_gpu(integers(case, 8)).x)
    graph.replay()
    assert torch.equal(recorded, step())


@needs_gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_device_that_is_not_the_current_one() -> None:
    case = REFERENCE[3]
    tensors = integers(case, 4)
    there = tensors.map(lambda t: t.to("cuda:1"))
    assert torch.cuda.current_device() == 0
    assert torch.equal(fused(there.x, there.w, there.b, case).cpu(), stock(tensors.x, tensors.w, tensors.b, case))
    with pytest.raises(RuntimeError, match="same device"):
        mnist_fast.conv_relu_maxpool2d(there.x, tensors.w.to("cuda:0"), None)


@needs_gpu
@pytest.mark.parametrize("case", [case for case in ODD if case.name in UNCOVERED], ids=str)
def test_what_is_not_covered_runs_through_stock(case: Block) -> None:
    tensors = on_gpu(integers(case, 2))
    y = mnist_fast.conv_relu_maxpool2d(tensors.x, tensors.w, tensors.b, **case.options)
    assert torch.equal(y, stock(tensors.x, tensors.w, tensors.b, case))
