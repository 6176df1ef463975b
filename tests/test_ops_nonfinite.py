"""NaN, infinities, numbers near overflow, denormals and −0, at the places where vectors begin and end."""

from __future__ import annotations

import math

import pytest
import torch
from cases import KINDS, Block, Tensors, block, normals
from oracle import ISAS, assert_equal, fused, isa, run, stock
from torch import Tensor

INF, NAN = math.inf, math.nan
VALUES = [NAN, INF, -INF, 3e38, -3e38, 1e-40, -0.0]


def places(t: Tensor) -> dict[str, tuple[int, ...]]:
    """Indices of a corner, an edge, an inner element, and the last: the tail of every vector loop."""
    if t.dim() == 1:
        return {"first": (0,), "middle": (t.shape[0] // 2,), "last": (-1,)}
    _, c, h, w = t.shape
    return {"corner": (0, 0, 0, 0), "edge": (0, c - 1, h // 2, w - 1), "inner": (-1, c // 2, h // 2, w // 2),
            "tail": (-1, -1, -1, -1)}  # fmt: skip


def wrong_outputs(got: Tensor, case: Block, t: Tensors) -> str | None:
    """None where an output is what it should be: non-finite where stock's is, elsewhere within the error bound."""
    # An infinite weight on the zeros of the padding: stock's own paths differ on whether that makes a NaN.
    inside = slice(1, -1) if any(case.padding) and bool(t.w.isinf().any()) else slice(None)
    got = got[..., inside, inside]
    # In float32 for all dtypes: stock's bfloat16 spreads NaN to outputs that do not see it.
    wide = t.map(Tensor.float)
    expected = stock(wide.x, wide.w, wide.b, case)[..., inside, inside].to(got.dtype)
    for mask in (torch.isnan, torch.isposinf, torch.isneginf):
        if not torch.equal(mask(got), mask(expected)):
            return mask.__name__
    exact = stock(*(None if s is None else s.double() for s in (t.x, t.w, t.b)), case)[..., inside, inside]
    # Finite results come from positions that the non-finite operand does not touch.
    finite = t.map(lambda s: s.double().abs().nan_to_num(0, 0, 0))
    bound = 16 * 2.0**-24 * stock(finite.x, finite.w, finite.b, case)[..., inside, inside]
    bound += torch.finfo(torch.float32).tiny
    if got.dtype != torch.float32:
        bound += torch.finfo(got.dtype).eps * exact.abs()
    where = expected.isfinite()
    return None if bool(((got.double() - exact).abs() <= bound)[where].all()) else "values"


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("operand", ["x", "w", "b"])
@pytest.mark.parametrize("case", KINDS, ids=str)
def test_forward(case: Block, operand: str, dtype: torch.dtype, name: str) -> None:
    wrong = []
    with isa(name):
        for value in VALUES:
            for place, index in places(getattr(normals(case, 2), operand)).items():
                tensors = normals(case, 2).map(lambda t: t.to(dtype))
                getattr(tensors, operand)[index] = value
                difference = wrong_outputs(fused(tensors.x, tensors.w, tensors.b, case), case, tensors)
                if difference:
                    wrong.append(f"{value} at {place}: {difference}")
    assert not wrong


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e-40, -0.0])  # sums of large ones overflow depending on their order
@pytest.mark.parametrize("operand", ["x", "w", "b"])
@pytest.mark.parametrize("case", KINDS, ids=str)
def test_forward_of_nothing_else(case: Block, operand: str, value: float, name: str) -> None:
    tensors = normals(case, 2)
    getattr(tensors, operand).fill_(value)
    with isa(name):
        assert wrong_outputs(fused(tensors.x, tensors.w, tensors.b, case), case, tensors) is None


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("operand", ["x", "w"])
@pytest.mark.parametrize("case", KINDS, ids=str)
def test_backward_does_not_hide_a_non_finite_operand(case: Block, operand: str, name: str) -> None:
    """A dense backward multiplies zeros with NaN and spreads it further; a sparse one need only not hide it."""
    hidden, reached = [], 0
    with isa(name):
        for value in (NAN, INF, -INF):
            for place, index in places(getattr(normals(case, 2), operand)).items():
                tensors = normals(case, 2)
                getattr(tensors, operand)[index] = value
                got = run(fused, case, tensors, torch.float32)
                if bool(got.pop("output").isfinite().all()):
                    continue  # pooling drops the last row, or ReLU what came of it
                reached += 1
                if all(bool(gradient.isfinite().all()) for gradient in got.values()):
                    hidden.append(f"{value} at {place}")
    assert not hidden
    assert reached >= 6


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("case", KINDS, ids=str)
def test_gradients_of_the_output(case: Block, value: float, name: str) -> None:
    """A window that lets the gradient through passes it on; one that ReLU blocks selects 0, it does not multiply."""
    tensors = normals(case, 2)
    alive = (
        stock(tensors.x, tensors.w, tensors.b, case) > 0 if case.relu else torch.ones_like(tensors.g, dtype=torch.bool)
    )
    tensors.g[~alive] = 0
    with isa(name):
        expected = run(fused, case, tensors, torch.float32)
        tensors.g[~alive] = value
        assert_equal(run(fused, case, tensors, torch.float32), expected)
        assert all(bool(result.isfinite().all()) for result in expected.values())
        for i in (0, len(alive.nonzero()) // 2, -1):
            passed = tensors.map(torch.clone)
            passed.g[tuple(alive.nonzero()[i])] = value
            got = run(fused, case, passed, torch.float32)
            assert not any(bool(got[result].isfinite().all()) for result in got if result != "output")


@pytest.mark.parametrize("value", [-INF, INF, NAN])
@pytest.mark.parametrize("relu", [True, False], ids=["relu", "linear"])
@pytest.mark.parametrize("name", ISAS)
def test_windows_full_of_one_special_value(value: float, relu: bool, name: str) -> None:
    """+inf: the first gets the gradient; −inf: dead under ReLU, the first without; NaN: some NaN gets it."""
    case = block("special-ties", 1, 4, 3, 1, relu=relu)
    tensors = normals(case, 1)
    tensors.x.fill_(value)
    tensors.w.fill_(1.0)
    assert tensors.b is not None
    tensors.b.zero_()
    tensors.g.fill_(1.0)
    with isa(name):
        got = run(fused, case, tensors, torch.float32)
    expected = run(stock, case, tensors, torch.float32)
    assert_equal({"output": got["output"]}, {"output": expected["output"]})
    torch.testing.assert_close(got["grad_bias"], expected["grad_bias"], equal_nan=True)
    if not math.isnan(value):
        torch.testing.assert_close(got["grad_input"], expected["grad_input"])
