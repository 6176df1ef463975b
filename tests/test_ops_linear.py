"""The linear layer: oneDNN's products against float64, and everything that must go past them."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_fast import Linear
from mnist_fast.ops import library, linear

MODULE = sys.modules["mnist_fast.ops.linear"]  # the name in the package is the function
SHAPES = [(64, 288, 128), (64, 9216, 10), (2, 7, 5), (3, 1, 1), (17, 33, 1), (33, 1000, 77)]  # batch, in, out


@pytest.fixture
def _everything_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small layers, and machines without a gain, take the products as well."""
    if not torch.backends.mkldnn.is_available() or library.missing is not None or library.backend == "stock":
        pytest.skip("this torch has no oneDNN, or the environment turns the kernels off")
    monkeypatch.setattr(MODULE, "_machine_gains", True)
    monkeypatch.setattr(MODULE, "_MIN_MULTIPLICATIONS", 0)


covered = pytest.mark.usefixtures("_everything_covered")


def takes_products(y: Tensor) -> bool:
    return "_Linear" in type(y.grad_fn).__name__


def layer_and_input(batch: int, inputs: int, outputs: int, bias: bool = True) -> tuple[Linear, Tensor]:
    return Linear(inputs, outputs, bias=bias), torch.randn(batch, inputs, requires_grad=True)


@covered
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_against_float64(shape: tuple[int, int, int], bias: bool) -> None:
    layer, x = layer_and_input(*shape, bias)
    g = torch.randn(shape[0], shape[2])
    y = layer(x)
    assert takes_products(y)
    y.backward(g)
    exact, exact_x = copy.deepcopy(layer).double(), x.detach().double().requires_grad_()
    exact_y = nn.Linear.forward(exact, exact_x)
    exact_y.backward(g.double())
    assert torch.equal(layer(x), y)  # run to run
    ours_all = [y, x.grad, *(parameter.grad for parameter in layer.parameters())]
    exact_all = [exact_y, exact_x.grad, *(parameter.grad for parameter in exact.parameters())]
    for ours, theirs in zip(ours_all, exact_all, strict=True):
        assert ours.is_contiguous()
        assert (ours - theirs).norm() <= 5e-6 * theirs.norm()


@covered
@pytest.mark.parametrize("wanted", ["x", "weight", "bias", "x bias"])
def test_only_wanted_gradients(wanted: str) -> None:
    layer, x = layer_and_input(4, 6, 5)
    tensors = {"x": x, "weight": layer.weight, "bias": layer.bias}
    for name, tensor in tensors.items():
        tensor.requires_grad_(name in wanted.split())
    y = layer(x)
    assert takes_products(y)
    y.sum().backward()  # an expanded gradient
    assert {name for name, tensor in tensors.items() if tensor.grad is not None} == set(wanted.split())
    ours = {name: tensor.grad for name, tensor in tensors.items() if tensor.grad is not None}
    for tensor in tensors.values():
        tensor.grad = None
    F.linear(x, layer.weight, layer.bias).sum().backward()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, tensors[name].grad)


@covered
def test_no_products_for_frozen_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = layer_and_input(4, 6, 5)
    layer.requires_grad_(False)
    y = layer(x)
    made = []
    product = MODULE._product
    monkeypatch.setattr(MODULE, "_product", lambda *arguments: made.append(arguments) or product(*arguments))
    y.backward(torch.ones_like(y))
    assert len(made) == 1


@covered
def test_without_gradients() -> None:
    layer, x = layer_and_input(4, 6, 5)
    expected = F.linear(x, layer.weight, layer.bias)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            y = layer(x)
        assert not y.requires_grad
        torch.testing.assert_close(y, expected.detach())


@covered
def test_derivatives_of_the_gradient() -> None:
    layer, x = layer_and_input(3, 4, 5)
    for function in (layer, lambda x: F.linear(x, layer.weight, layer.bias)):
        (gradient,) = torch.autograd.grad(function(x).tanh().sum(), x, create_graph=True)
        (gradient**2).sum().backward()
        if function is layer:
            ours = [t.grad.clone() for t in (x, layer.weight, layer.bias)]
            x.grad = None
            layer.zero_grad()
    for gradient, tensor in zip(ours, (x, layer.weight, layer.bias), strict=True):
        torch.testing.assert_close(gradient, tensor.grad)


@covered
def test_batched_gradients() -> None:
    layer, x = layer_and_input(3, 4, 5)
    tensors = (x, layer.weight, layer.bias)
    directions = torch.randn(7, 3, 5)
    batched = torch.autograd.grad(layer(x), tensors, directions, is_grads_batched=True)
    for i, direction in enumerate(directions):
        for one, many in zip(torch.autograd.grad(layer(x), tensors, direction), batched, strict=True):
            torch.testing.assert_close(many[i], one)


@covered
def test_changing_what_backward_needs_is_an_error() -> None:
    layer, x = layer_and_input(4, 6, 5)
    y = layer(x).sum()
    with torch.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def _elsewhere() -> Iterator[tuple[str, Tensor, Tensor, Tensor | None]]:
    x, w, b = torch.randn(4, 6), torch.randn(5, 6, requires_grad=True), torch.randn(5)
    yield "float64", x.double(), w.double(), b.double()
    yield "bfloat16", x.bfloat16(), w.bfloat16(), b.bfloat16()
    yield "vector", x[0], w, b
    yield "three dimensions", x.view(2, 2, 6), w, b
    yield "one row", x[:1], w, b
    yield "no rows", x[:0], w, b
    yield "transposed input", torch.randn(6, 4).t(), w, b
    yield "columns of a wider input", torch.randn(4, 9)[:, 1:7], w, b
    yield "expanded input", x[:1].expand(4, 6), w, b
    yield "transposed weight", x, torch.randn(6, 5, requires_grad=True).t(), b
    yield "bias of one element", x, w, b[:1]
    yield "sparse input", x.to_sparse(), w, None


@covered
@pytest.mark.parametrize("case", list(_elsewhere()), ids=lambda case: case[0])
def test_what_is_not_covered_goes_to_stock(case: tuple[str, Tensor, Tensor, Tensor | None]) -> None:
    _, x, w, b = case
    y = linear(x, w, b)
    assert not takes_products(y)
    assert torch.equal(y, F.linear(x, w, b))


@covered
@pytest.mark.parametrize(
    ("x", "w", "b"),
    [
        (torch.zeros(4, 6), torch.zeros(5, 7), None),
        (torch.zeros(4, 6), torch.zeros(5, 6), torch.zeros(4)),
        (torch.zeros(4, 6), torch.zeros(5, 6, dtype=torch.float64), None),
        (torch.zeros(4, 6, dtype=torch.int64), torch.zeros(5, 6), None),
    ],
)
def test_errors_are_stock_ones(x: Tensor, w: Tensor, b: Tensor | None) -> None:
    with pytest.raises(RuntimeError) as ours:
        linear(x, w, b)
    with pytest.raises(RuntimeError) as theirs:
        F.linear(x, w, b)
    assert str(ours.value) == str(theirs.value)


@covered
def test_transformations_modes_and_tracers_see_the_stock_operator() -> None:
    layer, x = layer_and_input(4, 6, 5)
    assert takes_products(layer(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    weights = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, weights, (x,)).square().sum()

    per_sample = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x.detach().view(2, 2, 6))
    torch.testing.assert_close(per_sample["weight"].sum(0), torch.func.grad(loss)(weights, x.detach())["weight"])
    tangent = torch.randn(4, 6)
    torch.testing.assert_close(torch.func.jvp(layer, (x,), (tangent,))[1], F.linear(tangent, layer.weight))
    assert "aten::linear" in str(torch.jit.trace(layer, (x,)).graph)
    program = torch.export.export(layer, (x.detach(),))
    assert "aten.linear.default" in [str(node.target) for node in program.graph.nodes]
    torch.testing.assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), layer(x))
    with torch.backends.mkldnn.flags(enabled=False):
        assert not takes_products(layer(x))


@covered
def test_copies_are_the_same_layer() -> None:
    layer, x = layer_and_input(4, 6, 5)
    stock = nn.Linear(6, 5)
    stock.load_state_dict(layer.state_dict())
    torch.testing.assert_close(stock(x), layer(x))
    assert repr(layer) == repr(stock)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(twin) is Linear
        assert torch.equal(twin(x), layer(x))


@covered
def test_python_threads_do_not_disturb_each_other() -> None:
    problems = [layer_and_input(*shape) for shape in SHAPES[2:]]

    def gradients(problem: tuple[Linear, Tensor]) -> tuple[Tensor, ...]:
        layer, x = problem
        return torch.autograd.grad(layer(x).square().sum(), (x, *layer.parameters()))

    expected = [gradients(problem) for problem in problems]

    def work(i: int) -> bool:
        pairs = zip(gradients(problems[i % len(problems)]), expected[i % len(problems)], strict=True)
        return all(torch.equal(ours, theirs) for ours, theirs in pairs)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(200)))


def test_small_layers_and_single_rows_take_the_stock_operator() -> None:
    for shape in ((64, 84, 10), (1, 9216, 128)):
        layer, x = layer_and_input(*shape)
        assert not takes_products(layer(x))
