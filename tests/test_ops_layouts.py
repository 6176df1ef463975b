"""Operands that are views of other memory: the values are those of contiguous operands, to the bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases import KINDS, REFERENCE, Block, Tensors, integers, normals, small
from oracle import ISAS, Results, assert_equal, fused, isa, stock
from torch import Tensor


def channels_last(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=torch.channels_last)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels_last": channels_last,
    "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    "batch_innermost": lambda t: t.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "channels_outermost": lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
    "every_second_row": lambda t: torch.stack([t, t + 1], 3).flatten(2, 3)[:, :, ::2],
    "every_second_column": lambda t: torch.stack([t, t + 1], 4).flatten(3)[..., ::2],
    "every_third_channel": lambda t: torch.stack([t, t + 1, t + 2], 2).flatten(1, 2)[:, ::3],
    "inside_a_frame": lambda t: torch.nn.functional.pad(t, (1, 2, 3, 1), value=7.0)[..., 3:-1, 1:-2],
    "inside_channels": lambda t: torch.cat([t, t, t], 1)[:, t.shape[1] : 2 * t.shape[1]],
    "channels_last_inside_a_frame": lambda t: channels_last(torch.nn.functional.pad(t, (1, 2, 3, 1)))[..., 3:-1, 1:-2],
    "channels_last_inside_channels": lambda t: channels_last(torch.cat([t, t], 1))[:, t.shape[1] :],
    "channels_last_with_an_offset": lambda t: channels_last(torch.cat([t[:1], t]))[1:],
    "some_of_a_batch": lambda t: torch.stack([t, t + 1], 1).flatten(0, 1)[::2],
    "one_of_a_pair": lambda t: torch.stack([t, t + 1], -1)[..., 0],
    "negated": lambda t: torch._neg_view(-t),
    "negated_channels_last": lambda t: torch._neg_view(-channels_last(t)),
    "one_sample_expanded": lambda t: t[:1].expand_as(t),
    "one_channel_expanded": lambda t: t[:, :1].expand_as(t),
    "one_row_expanded": lambda t: t[:, :, :1].expand_as(t),
    "one_column_expanded": lambda t: t[..., :1].expand_as(t),
    "one_number_expanded": lambda t: t[:1, :1, :1, :1].expand_as(t),
    "overlapping_rows": lambda t: t.flatten().clone().as_strided(t.shape, (t[0].numel(), t[0, 0].numel(), 1, 1)),
    **{
        f"offset_{i}": lambda t, i=i: torch.cat([t.new_ones(i), t.flatten()])[i:].view(t.shape) for i in range(1, 16)
    },
}  # fmt: skip

BIAS_VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "stepped": lambda b: torch.stack([b, b + 1], 1).flatten()[::2],
    "expanded": lambda b: b[:1].expand_as(b),
    "negated": lambda b: torch._neg_view(-b),
    **{f"offset_{i}": lambda b, i=i: torch.cat([b.new_ones(i), b])[i:] for i in range(1, 16)},
}


def run_as_is(case: Block, t: Tensors) -> Results:
    """Output and all gradients of operands that keep their strides, offsets and sign bits."""
    leaves = [leaf.detach().requires_grad_() for leaf in (t.x, t.w, t.b) if leaf is not None]
    y = fused(*leaves, case)
    return dict(
        zip(("output", "grad_input", "grad_weight", "grad_bias"), (y.detach(), *torch.autograd.grad(y, leaves, t.g)),
            strict=True)
    )  # fmt: skip


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("operand", ["x", "w", "g", "b"])
@pytest.mark.parametrize("case", KINDS, ids=str)
def test_views(case: Block, operand: str, dtype: torch.dtype, name: str) -> None:
    different = []
    with isa(name):
        for view, make in (BIAS_VIEWS if operand == "b" else VIEWS).items():
            tensors = normals(case, 3).map(lambda t: t.to(dtype))
            viewed = make(getattr(tensors, operand))
            setattr(tensors, operand, viewed.resolve_neg().clone(memory_format=torch.contiguous_format))
            expected = run_as_is(case, tensors)
            setattr(tensors, operand, viewed)
            got = run_as_is(case, tensors)
            different += [f"{view}: {result}" for result in got if not torch.equal(got[result], expected[result])]
    assert not different


@pytest.mark.parametrize("case", REFERENCE, ids=str)
def test_gradient_of_a_sum(case: Block) -> None:
    """Its stride is 0, and so is that of the input here."""
    case = small(case)
    x = integers(case, 1).x.expand(4, -1, -1, -1).requires_grad_()
    one = integers(case, 4)
    w, b = one.w.requires_grad_(), one.b.requires_grad_()
    fused(x, w, b, case).sum().backward()
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
