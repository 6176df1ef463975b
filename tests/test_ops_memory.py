"""Memory: nothing is touched beyond a tensor, sizes past 32 bits, sizes past 64, and too little of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cases import block, integers
from oracle import assert_equal, fused, run, stock

import mnist_fast
from mnist_fast.ops.functional import NoKernelError


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd="/", capture_output=True, text=True, check=False)


def test_nothing_is_touched_beyond_an_operand() -> None:
    result = python(str(Path(__file__).with_name("guard_pages.py")), "300")
    lines = result.stdout.splitlines() or [""]
    assert result.returncode == 0, f"exit {result.returncode} at: {lines[-1]} {result.stderr[-2000:]}"
    assert lines[-1] == "300 shapes stay within their operands"


def test_offsets_past_32_bits() -> None:
    """Two images 2^31 elements apart, in memory that is reserved but never touched between them."""
    case = block("far-apart", 1, 28, 8, 5, pool=3)
    tensors = integers(case, 2)
    try:
        reserved = torch.empty(2**31 + 28 * 28)
    except RuntimeError as error:
        pytest.skip(f"this machine does not reserve 8 GiB: {error}")
    x = reserved.as_strided((2, 1, 28, 28), (2**31, 28 * 28, 28, 1)).copy_(tensors.x)
    x.requires_grad_()
    y = fused(x, tensors.w, tensors.b, case)
    (grad,) = torch.autograd.grad(y, x, tensors.g)
    expected = run(stock, case, tensors, torch.float64)
    assert_equal({"y": y.detach(), "x": grad}, {"y": expected["output"], "x": expected["grad_input"]})


@pytest.mark.parametrize("wanted", ["x", pytest.param("w", marks=pytest.mark.long)])
def test_an_expanded_batch_past_32_bits(wanted: str) -> None:
    """More than 2^31 elements of which one sample lies in memory, and one pooled value a sample."""
    n, size = 2**31 // (27 * 27) + 2, 27
    x = torch.randint(-1, 2, (1, 1, size, size)).float().expand(n, 1, size, size)
    w, b = torch.randint(-2, 3, (1, 1, 3, 3)).float(), torch.tensor([30.0])
    assert x.numel() > 2**31
    w.requires_grad_(wanted == "w")
    y = mnist_fast.conv_relu_maxpool2d(x, w, b, pool_size=1, pool_stride=(size, size), backend="fused")
    value = float((x[0, 0, :3, :3] * w.detach()[0, 0]).sum()) + 30
    assert y.shape == (n, 1, 1, 1)
    assert bool((y == value).all())
    if wanted == "w":  # every sum is below 2^24, hence exact
        (grad,) = torch.autograd.grad(y, w, torch.ones(1).expand_as(y))
        assert torch.equal(grad[0, 0], x[0, 0, :3, :3] * n)


@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((2**40, 1, 9, 9), (2, 1, 3, 3)),
        ((2**56, 1, 9, 9), (2, 1, 3, 3)),
        ((1, 1, 9, 9), (2**40, 1, 3, 3)),
        ((1, 1, 9, 9), (2**59, 1, 3, 3)),
        ((2**31, 1, 9, 9), (2**28, 1, 3, 3)),
    ],
    ids=str,
)
def test_sizes_that_nothing_can_hold(x: tuple[int, ...], w: tuple[int, ...]) -> None:
    one = torch.ones(1, 1, 1, 1)
    with pytest.raises(RuntimeError, match=r"allocate memory|64-bit|overflow"):
        mnist_fast.conv_relu_maxpool2d(one.expand(x), one.expand(w))


@pytest.mark.parametrize("shape", [(1, 1, 2**31, 9), (1, 2**28, 9, 9), (1, 1, 2**16, 2**16)], ids=str)
def test_a_sample_past_32_bits_has_no_kernel(shape: tuple[int, ...]) -> None:
    one = torch.ones(1, 1, 1, 1)
    with pytest.raises(NoKernelError, match=r"2\^31"):
        mnist_fast.conv_relu_maxpool2d(one.expand(shape), one.expand(1, shape[1], 3, 3), backend="fused")


OUT_OF_MEMORY = """
import resource, sys
import torch
from mnist_fast import conv_relu_maxpool2d

def used():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))

def attempt(x, **options):
    w = torch.ones(1, 1, 3, 3, requires_grad=True)
    try:
        conv_relu_maxpool2d(x, w, relu=False, **options).sum().backward()
    except RuntimeError as error:
        return str(error).splitlines()[0]

torch.set_num_threads(2)
small = torch.ones(4, 1, 9, 9)
attempt(small)
limit = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024 + 2**27
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
one = torch.ones(1)
calls = {
    "output": lambda: attempt(one.expand(1, 1, 30000, 30000)),
    "working memory": lambda: attempt(one.expand(4, 1, 20000, 20000), pool_size=1, pool_stride=4000),
}
for name, call in calls.items():
    call()
    before = used()
    message = [call() for _ in range(5)][-1]
    print(name, "|", message, "|", used() - before)
assert attempt(small) is None
"""


def test_too_little_memory_is_an_error_and_nothing_leaks() -> None:
    result = python("-c", OUT_OF_MEMORY)
    assert result.returncode == 0, result.stderr[-2000:]
    lines = [line.split(" | ") for line in result.stdout.splitlines()]
    assert [name for name, *_ in lines] == ["output", "working memory"]
    for _, message, growth in lines:
        assert "can't allocate memory: you tried to allocate" in message
        assert int(growth) < 1024  # KiB; each failed call works on hundreds of MiB
