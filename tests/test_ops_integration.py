"""The operator inside PyTorch: opcheck, gradients of gradients, compile, autocast, vmap, functional calls, export."""

from __future__ import annotations

import copy
import itertools
import pickle
import random
from dataclasses import replace

import pytest
import torch
from cases import ALL, Block, Tensors, any_block, block, integers, normals, output_shape, small
from oracle import fused, stock
from torch import Tensor, nn

import mnist_fast
from mnist_fast.nn import ConvReLUMaxPool2d

POOLED = block("pooled", 3, 11, 17, 3)
UNITS = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]


def distinct(case: Block, n: int) -> Tensors:
    """Operands for finite differences: input values 0.1 apart in random order, so that no window is near a tie."""
    tensors = normals(case, n, torch.float64)
    count = tensors.x.numel()
    tensors.x = ((torch.randperm(count) - count / 2) * 0.1).double().view_as(tensors.x)
    return tensors


@pytest.mark.parametrize("case", ALL, ids=str)
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
def test_opcheck(case: Block, channels_last: bool) -> None:
    tensors = normals(small(case), 2)
    x = tensors.x.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    leaves = (x.requires_grad_(), tensors.w.requires_grad_(), None if tensors.b is None else tensors.b.requires_grad_())
    options = small(case).options
    arguments = (*leaves, options.pop("stride"), options.pop("padding"))
    torch.library.opcheck(torch.ops.mnist_fast.conv_relu_maxpool2d.default, arguments, options, test_utils=UNITS)


def test_opcheck_of_the_kernel_operators() -> None:
    tensors = normals(POOLED, 2)
    geometry = ([1, 1], [0, 0])
    forward = torch.ops.mnist_fast.conv_relu_maxpool2d_forward.default
    channels_last = tensors.x.to(memory_format=torch.channels_last)
    for x, contiguous, with_code in itertools.product((tensors.x, channels_last), (True, False), (True, False)):
        arguments = (x, tensors.w, tensors.b, *geometry, True, [2, 2], [2, 2], contiguous, with_code)
        torch.library.opcheck(forward, arguments, test_utils=["test_schema", "test_faketensor"])
    code = forward(tensors.x, tensors.w, tensors.b, *geometry, True, [2, 2], [2, 2], False, True)[1]
    for mask in ([True, True, True], [False, True, False], [True, False, True]):
        arguments = (tensors.g, tensors.x, tensors.w, code, *geometry, [2, 2], [2, 2], mask)
        torch.library.opcheck(
            torch.ops.mnist_fast.conv_relu_maxpool2d_backward.default,
            arguments,
            test_utils=["test_schema", "test_faketensor"],
        )


DRAWN = [replace(any_block(random.Random(seed).choice)[0], name=f"drawn-{seed}") for seed in range(8)]


@pytest.mark.parametrize("case", ALL + DRAWN, ids=str)
def test_gradcheck(case: Block) -> None:
    case = replace(small(case), c=min(case.c, 2), o=min(case.o, 3))
    tensors = distinct(case, 1)
    leaves = [t.requires_grad_() for t in (tensors.x, tensors.w, tensors.b) if t is not None]

    def function(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return fused(x, w, b, case)

    assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-6)
    assert torch.autograd.gradgradcheck(function, leaves, eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compile_has_no_graph_break(dynamic: bool) -> None:
    torch.compiler.reset()
    model = mnist_fast.models.get_model("lenet")
    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for n in (4, 6):
        x = torch.randn(n, 1, 28, 28)
        torch.testing.assert_close(compiled(x), model(x))
        compiled(x).sum().backward()
        got = [p.grad for p in model.parameters()]
        model.zero_grad()
        model(x).sum().backward()
        torch.testing.assert_close(got, [p.grad for p in model.parameters()])
        model.zero_grad()


def test_compile_with_inductor() -> None:
    torch.compiler.reset()
    block = ConvReLUMaxPool2d(3, 17, 3)
    x = torch.randn(2, 3, 11, 11, requires_grad=True)
    compiled = torch.compile(block, fullgraph=True)
    torch.testing.assert_close(compiled(x), block(x))
    torch.testing.assert_close(
        torch.autograd.grad(compiled(x).sum(), (x, block.weight)),
        torch.autograd.grad(block(x).sum(), (x, block.weight)),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    tensors = integers(POOLED, 2)
    got, expected = tensors.leaves(torch.float32), tensors.leaves(torch.float32)
    with torch.autocast("cpu", dtype):
        y = mnist_fast.conv_relu_maxpool2d(got.x, got.w, got.b)
        reference = stock(expected.x, expected.w, expected.b, POOLED)
        double = mnist_fast.conv_relu_maxpool2d(*(t.detach().double() for t in (got.x, got.w, got.b)))
    assert y.dtype == reference.dtype == dtype
    assert double.dtype == torch.float64
    assert torch.equal(y, reference)
    y.backward(tensors.g.to(dtype))
    reference.backward(tensors.g.to(dtype))
    for name in ("x", "w", "b"):
        ours, theirs = getattr(got, name).grad, getattr(expected, name).grad
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)


def test_autocast_takes_the_kernels_behind_another_block() -> None:
    """There the input is bfloat16 and the weights are float32."""
    tensors = integers(POOLED, 2)
    x, w, b = tensors.x.bfloat16(), tensors.w.requires_grad_(), tensors.b
    block = ConvReLUMaxPool2d(*w.shape[1::-1], POOLED.k, **POOLED.options, backend="fused")
    block.load_state_dict({"weight": w, "bias": b})
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        y, reference = block(x), stock(x, w, b, POOLED)
        assert torch.equal(compiled(x), y)
        assert torch.equal(torch.ops.mnist_fast.conv_relu_maxpool2d(x, w, b, **POOLED.options), y)
        with pytest.raises(RuntimeError):
            mnist_fast.conv_relu_maxpool2d(x.double(), w, b)
    assert "FusedBlock" in type(y.grad_fn).__name__
    assert torch.equal(y, reference)
    y.backward(tensors.g.bfloat16())
    reference.backward(tensors.g.bfloat16())
    assert block.weight.grad.dtype == torch.float32
    torch.testing.assert_close(block.weight.grad, w.grad, rtol=2e-2, atol=2e-2)


def test_vmap() -> None:
    x, w, b = torch.randn(4, 2, 3, 9, 9), torch.randn(5, 3, 3, 3), torch.randn(5)
    batched = torch.vmap(lambda x: mnist_fast.conv_relu_maxpool2d(x, w, b))(x)
    torch.testing.assert_close(batched, torch.stack([mnist_fast.conv_relu_maxpool2d(one, w, b) for one in x]))


def test_vmap_over_the_dispatcher_operator() -> None:
    x, w = torch.randn(4, 2, 3, 9, 9), torch.randn(5, 3, 3, 3)
    batched = torch.vmap(lambda x: torch.ops.mnist_fast.conv_relu_maxpool2d(x, w))(x)
    torch.testing.assert_close(batched, torch.stack([mnist_fast.conv_relu_maxpool2d(one, w) for one in x]))


def test_per_sample_gradients_and_functional_call() -> None:
    model = mnist_fast.models.get_model("lenet")
    x, labels = torch.randn(3, 1, 28, 28), torch.tensor([1, 2, 3])
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, parameters, (x.unsqueeze(0),))
        return nn.functional.cross_entropy(logits, label.unsqueeze(0))

    per_sample = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, labels)
    for i in range(3):
        model.zero_grad()
        nn.functional.cross_entropy(model(x[i : i + 1]), labels[i : i + 1]).backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(per_sample[name][i], p.grad, rtol=1e-4, atol=1e-6)


def test_forward_mode_derivatives() -> None:
    tensors = distinct(POOLED, 1)
    tangent = torch.randn_like(tensors.x)
    ours = torch.func.jvp(lambda x: mnist_fast.conv_relu_maxpool2d(x, tensors.w, tensors.b), (tensors.x,), (tangent,))
    theirs = torch.func.jvp(lambda x: stock(x, tensors.w, tensors.b, POOLED), (tensors.x,), (tangent,))
    torch.testing.assert_close(ours, theirs)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(tensors.x, tangent)
        y = mnist_fast.conv_relu_maxpool2d(dual, tensors.w, tensors.b)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(y).tangent, theirs[1])


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_without_gradients(mode: type) -> None:
    tensors = integers(POOLED, 2)
    with mode():
        y = fused(tensors.x.requires_grad_(), tensors.w, tensors.b, POOLED)
    assert not y.requires_grad
    assert torch.equal(y, stock(tensors.x, tensors.w, tensors.b, POOLED))


def test_export_shows_stock_operators() -> None:
    model = mnist_fast.models.get_model("cnn").eval()
    program = torch.export.export(model, (torch.randn(2, 1, 28, 28),))
    targets = {str(node.target) for node in program.graph.nodes}
    assert not any("mnist_fast" in target for target in targets)
    x = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(program.module()(x), model(x))


def test_copy_and_pickle() -> None:
    block = ConvReLUMaxPool2d(3, 4, 3, relu=False, pool_size=3)
    x = torch.randn(2, 3, 12, 12)
    for twin in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert torch.equal(twin(x), block(x))


def test_output_shapes_of_the_table() -> None:
    for case in ALL:
        t = integers(case, 1)
        assert fused(t.x, t.w, t.b, case).shape == output_shape(case, 1)
