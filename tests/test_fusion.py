from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_fast import ConvReLUMaxPool2d, Linear, fuse, unfuse
from mnist_fast.fusion import CannotTraceError, NotFusedWarning
from mnist_fast.models import get_model, list_models


class Functional(nn.Module):
    """As the documents write it: layers as attributes, functions between them, one pooling used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(16 * 7 * 7, 10)
        self.fc4 = nn.Linear(3, 4)  # never called, as in document 002

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(self.conv2(x)).relu()
        return self.fc1(x.view(-1, 16 * 7 * 7))


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU())
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 1e9:  # data-dependent: cannot be traced, and need not be
            return x
        return self.features(x)


class Untraceable(Functional):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > -1e9 else x


class DependsOnMode(Functional):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), training=self.training)


def blocks(module: nn.Module) -> list[ConvReLUMaxPool2d]:
    return [m for m in module.modules() if isinstance(m, ConvReLUMaxPool2d)]


def assert_same(a: nn.Module, b: nn.Module, x: Tensor) -> None:
    assert set(a.state_dict()) == set(b.state_dict())
    torch.testing.assert_close(a(x), b(x))
    b.load_state_dict(a.state_dict())
    a.load_state_dict(b.state_dict())


@pytest.mark.parametrize("name", list_models())
def test_reference_networks_both_ways(name: str) -> None:
    model = get_model(name).eval()
    stock = unfuse(model)
    assert all(type(m).__module__.startswith("torch.nn") for m in stock.modules())
    x = torch.randn(3, 1, 28, 28)
    assert_same(model, stock, x)
    again = fuse(stock)
    assert [type(m) for m in again.modules()] == [type(m) for m in model.modules()]
    assert_same(model, again, x)


def test_originals_are_untouched() -> None:
    stock = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
    fused = fuse(stock)
    assert len(stock) == 3
    assert len(fused) == 1
    with torch.no_grad():
        fused[0].weight.zero_()
    assert not torch.equal(stock[0].weight, fused[0].weight)


@pytest.mark.parametrize(
    ("followers", "relu", "pool"),
    [
        ([nn.ReLU(), nn.MaxPool2d(2)], True, 2),
        ([nn.MaxPool2d(2), nn.ReLU()], True, 2),
        ([nn.ReLU(inplace=True)], True, 1),
        ([nn.MaxPool2d(3, 2)], False, 3),
        ([nn.MaxPool2d((2, 3), (1, 2)), nn.ReLU()], True, (2, 3)),
    ],
    ids=str,
)
def test_chains_in_a_sequential(followers: list[nn.Module], relu: bool, pool: object) -> None:
    stock = nn.Sequential(nn.Conv2d(2, 5, 3), *followers, nn.Conv2d(5, 2, 1))
    fused = fuse(stock)
    assert [type(m) for m in fused] == [ConvReLUMaxPool2d, nn.Conv2d]
    assert fused[0].relu == relu
    assert fused[0].pool_size == pool or fused[0].pool_size == (pool, pool)
    x = torch.randn(2, 2, 12, 13)
    assert_same(stock, fused, x)
    assert_same(stock, unfuse(fused), x)


@pytest.mark.parametrize(
    "followers",
    [
        [],
        [nn.Sigmoid()],
        [nn.AvgPool2d(2)],
        [nn.MaxPool2d(2, padding=1)],
        [nn.MaxPool2d(2, ceil_mode=True)],
        [nn.MaxPool2d(2, dilation=2)],
        [nn.BatchNorm2d(5), nn.ReLU()],
    ],
    ids=str,
)
def test_what_is_no_chain_stays(followers: list[nn.Module]) -> None:
    stock = nn.Sequential(nn.Conv2d(2, 5, 3), *followers)
    assert not blocks(fuse(stock))


def test_a_second_relu_or_pool_is_left_to_the_next_module() -> None:
    fused = fuse(nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2), nn.ReLU()))
    assert [type(m) for m in fused] == [ConvReLUMaxPool2d, nn.MaxPool2d, nn.ReLU]


def test_hooks_and_parametrisations_prevent_fusion() -> None:
    hooked = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU())
    hooked[0].register_forward_hook(lambda module, inputs, output: output * 2)
    assert not blocks(fuse(hooked))
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 5, 3)), nn.ReLU())
    assert not blocks(fuse(normed))


@pytest.mark.parametrize(
    "network", [Functional, Mixed, lambda: nn.Linear(3, 2), lambda: nn.Sequential(nn.Linear(3, 2))]
)
def test_linear_layers_change_their_class_only(network: Callable[[], nn.Module]) -> None:
    def layers(module: nn.Module) -> list[tuple[str, type]]:
        return [(name, type(m)) for name, m in module.named_modules() if isinstance(m, nn.Linear)]

    stock = network()
    fused = fuse(stock)
    assert layers(fused) == [(name, Linear) for name, _ in layers(stock)]
    assert layers(unfuse(fused)) == layers(stock)


def test_forward_functions_and_methods() -> None:
    stock = Functional()
    fused = fuse(stock)
    assert [(b.relu, b.pool_size) for b in blocks(fused)] == [(True, 2), (True, 2)]
    assert type(fused).__name__ == "Functional"
    x = torch.randn(2, 1, 28, 28)
    assert_same(stock, fused, x)
    back = unfuse(fused)
    assert not blocks(back)
    assert_same(stock, back, x)


def test_sequentials_inside_an_untraceable_module() -> None:
    stock = Mixed()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fused = fuse(stock)
    assert len(blocks(fused)) == 2
    assert isinstance(fused, Mixed)
    assert_same(stock, fused, torch.randn(2, 1, 12, 12))
    assert_same(stock, unfuse(fused), torch.randn(2, 1, 12, 12))


@pytest.mark.parametrize("kind", [Untraceable, DependsOnMode])
def test_what_cannot_be_traced_is_said(kind: type[nn.Module]) -> None:
    with pytest.warns(NotFusedWarning, match=kind.__name__):
        fused = fuse(kind())
    assert not blocks(fused)
    assert type(fused) is kind


def test_unfusing_what_cannot_be_traced_is_an_error() -> None:
    model = Untraceable()
    model.conv1 = ConvReLUMaxPool2d(1, 8, 3, padding=1)
    with pytest.raises(CannotTraceError, match="Untraceable"):
        unfuse(model)


def test_a_convolution_called_twice_stays() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.conv(F.max_pool2d(self.conv(x), 2)))

    stock, x = Twice(), torch.randn(1, 3, 8, 8)
    assert not blocks(fuse(stock))
    torch.testing.assert_close(fuse(stock)(x), stock(x))


def test_a_block_called_twice_is_unfused_at_both_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = ConvReLUMaxPool2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(self.block(x))

    model = Twice()
    assert_same(model, unfuse(model), torch.randn(1, 3, 8, 8))


def test_a_result_used_twice_is_not_swallowed() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return F.relu(y) + y

    stock, x = Residual(), torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(fuse(stock)(x), stock(x))


def test_a_lone_block() -> None:
    block, x = ConvReLUMaxPool2d(3, 8, 3, padding="same"), torch.randn(2, 3, 9, 9)
    stock = unfuse(block)
    assert_same(block, stock, x)


@pytest.mark.parametrize("make", [lambda: get_model("cnn"), lambda: fuse(Functional())], ids=["sequential", "traced"])
def test_an_unfused_network_names_nothing_of_this_package(make: object) -> None:
    buffer = io.BytesIO()
    torch.save(unfuse(make()), buffer)
    assert b"mnist_fast" not in buffer.getvalue()


@pytest.mark.parametrize("kind", ["sequential", "traced"])
def test_modes_and_copies(kind: str) -> None:
    stock = get_model("cnn-dropout", fused=False) if kind == "sequential" else Functional()
    for training in (True, False):
        fused = fuse(stock.train(training))
        assert fused.training == training
        assert all(m.training == training for m in fused.modules())
    twin, x = copy.deepcopy(fused), torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(twin(x), fused(x))


def test_no_random_numbers_are_drawn() -> None:
    stock = get_model("lenet", fused=False)
    state = torch.get_rng_state()
    unfuse(fuse(stock))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_block_before_a_flatten_writes_what_it_reads() -> None:
    stock = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(484, 2)
    )
    first, second = (m for m in fuse(stock).modules() if isinstance(m, ConvReLUMaxPool2d))
    assert not first.contiguous_output
    assert second.contiguous_output
