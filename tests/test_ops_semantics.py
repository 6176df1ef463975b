"""The corners: ties, NaN and infinities, views, memory formats, partial gradients, in-place edits, dtypes."""

from __future__ import annotations

import math

import pytest
import torch
from cases import Block, Tensors, block, integers, normals, output_shape
from oracle import ISAS, assert_equal, fused, isa, run, stock

import mnist_fast

POOLED = block("pooled", 3, 11, 17, 3)
INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("pool", [2, 3])
@pytest.mark.parametrize("relu", [True, False], ids=["relu", "linear"])
@pytest.mark.parametrize("fill", [1.0, 0.0, -0.0, -1.0])
def test_first_of_equal_values_gets_the_gradient(fill: float, relu: bool, pool: int, name: str) -> None:
    case = block("ties", 1, 6, 9, 1, pool=pool, relu=relu)
    tensors = integers(case, 2)
    tensors.x.fill_(fill)
    tensors.w.fill_(1.0)
    assert tensors.b is not None
    tensors.b.zero_()
    with isa(name):
        assert_equal(run(fused, case, tensors, torch.float32), run(stock, case, tensors, torch.float64))


@pytest.mark.parametrize("wanted", [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1) if i + j + k])
@pytest.mark.parametrize("case", [POOLED, block("first", 1, 9, 8, 3)], ids=str)
def test_only_requested_gradients(case: Block, wanted: tuple[int, int, int]) -> None:
    tensors = integers(case, 2)
    leaves = (tensors.x, tensors.w, tensors.b)
    for leaf, want in zip(leaves, wanted, strict=True):
        leaf.requires_grad_(bool(want))
    fused(*leaves, case).backward(tensors.g)
    expected = run(stock, case, Tensors(*(t.detach() for t in leaves), tensors.g), torch.float64)
    for name, leaf, want in zip(("grad_input", "grad_weight", "grad_bias"), leaves, wanted, strict=True):
        assert (leaf.grad is not None) == bool(want)
        if want:
            assert_equal({name: leaf.grad}, {name: expected[name]})


def test_inplace_edit_of_a_saved_tensor_is_noticed() -> None:
    tensors = normals(POOLED, 2)
    w = tensors.w.requires_grad_()
    y = fused(tensors.x, w, tensors.b, POOLED)
    tensors.x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_dtypes_are_kept(dtype: torch.dtype) -> None:
    tensors = integers(POOLED, 2)
    x, w, b = (t.to(dtype).requires_grad_() for t in (tensors.x, tensors.w, tensors.b))
    y = mnist_fast.conv_relu_maxpool2d(x, w, b)
    y.backward(tensors.g.to(dtype))
    assert y.dtype == x.grad.dtype == w.grad.dtype == b.grad.dtype == dtype
    assert torch.equal(y.float(), stock(tensors.x, tensors.w, tensors.b, POOLED).to(dtype).float())


def test_unbatched_input() -> None:
    tensors = integers(POOLED, 1)
    x = tensors.x[0].clone().requires_grad_()
    y = mnist_fast.conv_relu_maxpool2d(x, tensors.w, tensors.b, backend="fused")
    assert y.shape == output_shape(POOLED, 1)[1:]
    y.backward(tensors.g[0])
    expected = run(stock, POOLED, tensors, torch.float64)
    assert_equal({"y": y.detach(), "x": x.grad}, {"y": expected["output"][0], "x": expected["grad_input"][0]})


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("padding", "stride"), [("same", 1), ("valid", 1), ("valid", 2), (1, 1), (1, 2), ((2, 1), 1), ((2, 1), 2)]
)
@pytest.mark.parametrize("k", [(3, 3), (2, 5), (4, 3)])
def test_paddings_by_name(padding: str | int | tuple[int, int], k: tuple[int, int], stride: int) -> None:
    x, w = integers(POOLED, 2).x, torch.randint(-2, 3, (4, 3, *k)).float()
    expected = torch.nn.functional.max_pool2d(torch.nn.functional.conv2d(x, w, None, stride, padding).relu(), 2)
    assert torch.equal(mnist_fast.conv_relu_maxpool2d(x, w, None, stride, padding), expected)


@pytest.mark.parametrize(
    "options",
    [{"dilation": 2}, {"groups": 3}, {"stride": 3}, {"padding": 4}, {"pool_size": 2, "pool_stride": (1, 3)}],
    ids=str,
)
def test_what_no_kernel_covers_takes_stock(options: dict[str, object]) -> None:
    x = torch.randint(-4, 5, (2, 3, 20, 20)).float()
    w = torch.randint(-2, 3, (6, 3 // options.get("groups", 1), 3, 3)).float()
    pool = {name: options.pop(name) for name in ("pool_size", "pool_stride") if name in options}
    expected = torch.nn.functional.conv2d(x, w, None, **options).relu()
    expected = torch.nn.functional.max_pool2d(expected, pool.get("pool_size", 2), pool.get("pool_stride"))
    assert torch.equal(mnist_fast.conv_relu_maxpool2d(x, w, None, **options, **pool), expected)
