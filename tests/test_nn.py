from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import mnist_fast
from mnist_fast import ConvReLUMaxPool2d


def twin(block: ConvReLUMaxPool2d, conv: nn.Conv2d) -> nn.Sequential:
    conv.load_state_dict(block.state_dict())
    pool = nn.MaxPool2d(block.pool_size, block.pool_stride) if block.pool_size != 1 else nn.Identity()
    return nn.Sequential(conv, nn.ReLU() if block.relu else nn.Identity(), pool)


def test_is_a_conv2d_with_its_initialisation() -> None:
    torch.manual_seed(1)
    block = ConvReLUMaxPool2d(3, 8, 5)
    after = torch.rand(1)
    torch.manual_seed(1)
    conv = nn.Conv2d(3, 8, 5)
    assert torch.equal(torch.rand(1), after)  # the same random numbers were drawn
    assert isinstance(block, nn.Conv2d)
    assert list(block.state_dict()) == list(conv.state_dict()) == ["weight", "bias"]
    assert torch.equal(block.weight, conv.weight)
    assert torch.equal(block.bias, conv.bias)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"relu": False},
        {"pool_size": 1},
        {"pool_size": 3, "pool_stride": 1},
        {"bias": False},
        {"padding": "same"},
        {"padding": 1, "stride": 2},
        {"padding": 2, "padding_mode": "reflect"},
        {"padding": (1, 2), "padding_mode": "circular"},
        {"padding": "same", "padding_mode": "replicate"},
        {"groups": 3},
        {"dilation": 2},
        {"dtype": torch.float64},
        {"dtype": torch.bfloat16},
    ],
    ids=str,
)
def test_equals_the_stock_modules(options: dict[str, object]) -> None:
    block = ConvReLUMaxPool2d(3, 6, 3, **options)
    conv = nn.Conv2d(3, 6, 3, **{k: v for k, v in options.items() if k not in ("relu", "pool_size", "pool_stride")})
    stock = twin(block, conv)
    x = torch.randn(2, 3, 14, 15, dtype=block.weight.dtype)
    torch.testing.assert_close(block(x), stock(x))
    block(x).sum().backward()
    stock(x).sum().backward()
    torch.testing.assert_close(block.weight.grad, conv.weight.grad)


def test_repr_names_the_block() -> None:
    assert repr(ConvReLUMaxPool2d(1, 8, 3)) == (
        "ConvReLUMaxPool2d(1, 8, kernel_size=(3, 3), stride=(1, 1), relu=True, pool_size=2)"
    )
    assert "pool_stride=1" in repr(ConvReLUMaxPool2d(1, 8, 3, pool_stride=1))
    assert "backend='stock'" in repr(ConvReLUMaxPool2d(1, 8, 3, backend="stock"))


def test_frozen_parameters_get_no_gradient() -> None:
    block = ConvReLUMaxPool2d(3, 6, 3)
    block.weight.requires_grad_(False)
    x = torch.randn(2, 3, 9, 9, requires_grad=True)
    block(x).sum().backward()
    assert block.weight.grad is None
    assert block.bias.grad is not None
    assert x.grad is not None


def test_state_dict_moves_both_ways() -> None:
    block, conv = ConvReLUMaxPool2d(3, 6, 3), nn.Conv2d(3, 6, 3)
    conv.load_state_dict(block.state_dict())
    block.load_state_dict(conv.state_dict())


def test_lazy_attributes_of_the_package() -> None:
    assert mnist_fast.ConvReLUMaxPool2d is ConvReLUMaxPool2d
    assert "fuse" in dir(mnist_fast)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mnist_fast.nothing  # noqa: B018


@pytest.mark.parametrize("backend", ["auto", "stock"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_contiguous_output(backend: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    block = ConvReLUMaxPool2d(3, 20, 3, contiguous_output=True, backend=backend, dtype=dtype)
    same = copy.deepcopy(block)
    same.contiguous_output = False
    assert "contiguous_output=True" in repr(block)
    assert "contiguous_output" not in repr(same)
    x = torch.randn(2, 3, 20, 21, dtype=dtype).to(memory_format=torch.channels_last)
    results = []
    for module in (block, same):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        y = module(leaf)
        y.flatten(1).square().sum().backward()
        results.append((y, leaf.grad, module.weight.grad, module.bias.grad))
    assert results[0][0].is_contiguous()
    assert not results[1][0].is_contiguous()
    assert results[0][0].flatten(1).data_ptr() == results[0][0].data_ptr()
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


def test_the_meta_device_gives_shapes() -> None:
    block = ConvReLUMaxPool2d(3, 8, 3, device="meta")
    input = torch.empty(2, 3, 9, 9, device="meta", requires_grad=True)
    output = block(input)
    output.sum().backward()
    assert (output.shape, input.grad.shape, block.weight.grad.shape) == ((2, 8, 3, 3), input.shape, block.weight.shape)
