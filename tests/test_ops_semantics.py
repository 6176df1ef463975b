"""The corners: ties, NaN and infinities, views, memory formats, partial gradients, in-place edits, dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from cases import ALL, REFERENCE, Block, Tensors, block, integers, normals, output_shape, small
from oracle import ISAS, assert_equal, fused, isa, run, stock
from torch import Tensor

import mnist_fast

POOLED = block("pooled", 3, 11, 17, 3)
INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("value", [NAN, INF, -INF, 3e38, -3e38, 1e-40, -0.0])
@pytest.mark.parametrize("place", ["corner", "edge", "tail", "everywhere"])
@pytest.mark.parametrize("operand", ["x", "w", "b"])
@pytest.mark.parametrize("relu", [True, False], ids=["relu", "linear"])
def test_special_values_in_forward(operand: str, place: str, value: float, relu: bool, name: str) -> None:
    case = block("special", 3, 11, 17, 3, relu=relu)
    tensors = normals(case, 2)
    target = getattr(tensors, operand)
    if place == "everywhere" and abs(value) == 3e38:
        value = math.copysign(3e36, value)  # sums of larger ones overflow or not depending on their order
    where = {"corner": 0, "edge": target.shape[-1] - 1, "tail": target.numel() - 1, "everywhere": slice(None)}[place]
    target.view(-1)[where] = value
    with isa(name):
        got = fused(tensors.x, tensors.w, tensors.b, case)
    expected = stock(tensors.x, tensors.w, tensors.b, case)
    assert torch.equal(got.isnan(), expected.isnan())
    assert torch.equal(got.isposinf(), expected.isposinf())
    assert torch.equal(got.isneginf(), expected.isneginf())
    finite = expected.isfinite()
    torch.testing.assert_close(got[finite], expected[finite], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("operand", ["x", "w", "g"])
def test_special_values_reach_backward(operand: str, value: float, name: str) -> None:
    """A dense backward multiplies zeros with NaN and spreads it; a sparse one need only not hide it."""
    tensors = normals(POOLED, 2)
    target = getattr(tensors, operand)
    if operand == "g":  # on a window that lets the gradient through
        alive = stock(tensors.x, tensors.w, tensors.b, POOLED) > 0
        target[tuple(alive.nonzero()[0])] = value
    else:
        target.view(-1)[0 if operand == "w" else 4 * 11 + 4] = value
    with isa(name):
        got = run(fused, POOLED, tensors, torch.float32)
    assert any(not bool(result.isfinite().all()) for result in got.values())


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("value", [NAN, INF])
def test_masked_gradient_is_selected_not_multiplied(value: float, name: str) -> None:
    tensors = normals(POOLED, 2)
    dead = stock(tensors.x, tensors.w, tensors.b, POOLED) == 0
    assert dead.any()
    tensors.g[dead] = value
    with isa(name):
        got = run(fused, POOLED, tensors, torch.float32)
    assert all(bool(result.isfinite().all()) for result in got.values())


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


@pytest.mark.parametrize("value", [-INF, INF, NAN])
@pytest.mark.parametrize("relu", [True, False], ids=["relu", "linear"])
def test_windows_full_of_one_special_value(value: float, relu: bool) -> None:
    """+inf: the first gets the gradient; −inf: dead under ReLU, the first without; NaN: some NaN gets it."""
    case = block("special-ties", 1, 4, 3, 1, relu=relu)
    tensors = normals(case, 1)
    tensors.x.fill_(value)
    tensors.w.fill_(1.0)
    assert tensors.b is not None
    tensors.b.zero_()
    tensors.g.fill_(1.0)
    got, expected = run(fused, case, tensors, torch.float32), run(stock, case, tensors, torch.float32)
    assert_equal({"output": got["output"]}, {"output": expected["output"]})
    torch.testing.assert_close(got["grad_bias"], expected["grad_bias"], equal_nan=True)
    if not math.isnan(value):
        torch.testing.assert_close(got["grad_input"], expected["grad_input"])


def channels_last(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=torch.channels_last)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels_last": channels_last,
    "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    "batch_innermost": lambda t: t.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "channels_outermost": lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
    "every_second_row": lambda t: torch.stack([t, t + 1], 3).flatten(2, 3)[:, :, ::2],
    "every_second_column": lambda t: torch.stack([t, t + 1], 4).flatten(3)[..., ::2],
    "inside_a_frame": lambda t: torch.nn.functional.pad(t, (1, 2, 3, 1), value=7.0)[..., 3:-1, 1:-2],
    "inside_channels": lambda t: torch.cat([t, t, t], 1)[:, t.shape[1] : 2 * t.shape[1]],
    "channels_last_inside_channels": lambda t: channels_last(torch.cat([t, t], 1))[:, t.shape[1] :],
    "some_of_a_batch": lambda t: torch.stack([t, t + 1], 1).flatten(0, 1)[::2],
    "negated": lambda t: torch._neg_view(-t),
    **{f"offset_{i}": lambda t, i=i: torch.cat([torch.ones(i), t.flatten()])[i:].view(t.shape) for i in (1, 3, 15)},
}


@pytest.mark.parametrize("operand", ["x", "w", "g"])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("case", [POOLED, block("first", 1, 9, 8, 3, padding=1)], ids=str)
def test_views(case: Block, view: str, operand: str) -> None:
    tensors = integers(case, 3)
    expected = run(stock, case, tensors, torch.float64)
    setattr(tensors, operand, VIEWS[view](getattr(tensors, operand)))
    t = Tensors(tensors.x.detach(), tensors.w.detach(), tensors.b, tensors.g)
    for leaf in (t.x, t.w, t.b):
        leaf.requires_grad_()
    y = fused(t.x, t.w, t.b, case)
    grads = torch.autograd.grad(y, (t.x, t.w, t.b), t.g)
    got = dict(zip(("output", "grad_input", "grad_weight", "grad_bias"), (y.detach(), *grads), strict=True))
    assert_equal(got, expected)


@pytest.mark.parametrize("case", REFERENCE, ids=str)
def test_expanded_operands(case: Block) -> None:
    case = small(case)
    x = integers(case, 1).x.expand(4, -1, -1, -1).requires_grad_()
    one = integers(case, 4)
    w, b = one.w.requires_grad_(), one.b.requires_grad_()
    fused(x, w, b, case).sum().backward()  # a gradient of stride 0
    X, W, B = (t.detach().double().requires_grad_() for t in (x, w, b))
    stock(X, W, B, case).sum().backward()
    assert_equal({"w": w.grad, "b": b.grad}, {"w": W.grad, "b": B.grad})


@pytest.mark.parametrize("x_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("w_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", REFERENCE, ids=str)
def test_memory_formats_follow_stock(case: Block, x_format: torch.memory_format, w_format: torch.memory_format) -> None:
    tensors = integers(case, 2)
    x, w = tensors.x.to(memory_format=x_format), tensors.w.to(memory_format=w_format)
    got, expected = fused(x, w, tensors.b, case), stock(x, w, tensors.b, case)
    assert got.stride() == expected.stride()
    assert torch.equal(got, expected)


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


@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_element_is_written(case: Block) -> None:
    """Under the deterministic flag torch fills fresh memory with NaN."""
    tensors = normals(case, 3)
    torch.use_deterministic_algorithms(True)
    try:
        got = run(fused, case, tensors, torch.float32)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(bool(value.isfinite().all()) for value in got.values())


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
