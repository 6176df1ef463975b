"""Calls that are wrong: the message is the one that the stock operators give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import mnist_fast
from mnist_fast.ops.functional import NoKernelError

X, W, B = (2, 3, 9, 9), (5, 3, 3, 3), (5,)


def call(function: Any, x: Any, w: Any, b: Any, options: dict[str, Any]) -> str:
    def tensor(spec: Any) -> Any:
        if isinstance(spec, tuple) and all(isinstance(n, int) for n in spec):
            return torch.zeros(spec)
        return spec

    with pytest.raises((RuntimeError, TypeError, ValueError, IndexError)) as raised:
        function(tensor(x), tensor(w), tensor(b), **options)
    return str(raised.value).split(" - got ")[0]  # what follows tells positional arguments from named ones


def stock(x: Any, w: Any, b: Any, **options: Any) -> Any:
    pool = {name: options.pop(name) for name in ("pool_size", "pool_stride") if name in options}
    y = F.conv2d(x, w, b, **options).relu()
    return F.max_pool2d(y, pool.get("pool_size", 2), pool.get("pool_stride"))


BAD = {
    "wrong channels": ((2, 4, 9, 9), W, B, {}),
    "2-D input": ((9, 9), W, B, {}),
    "5-D input": ((1, 2, 3, 9, 9), W, B, {}),
    "1-D input": ((9,), W, B, {}),
    "3-D weight": (X, (5, 3, 3), B, {}),
    "2-D weight": (X, (5, 3), B, {}),
    "1-D weight": (X, (5,), B, {}),
    "bias too long": (X, W, (6,), {}),
    "bias too short": (X, W, (4,), {}),
    "2-D bias": (X, W, (5, 1), {}),
    "kernel larger than input": ((2, 3, 2, 2), W, B, {}),
    "kernel wider than input": ((2, 3, 9, 2), W, B, {}),
    "pool larger than conv": ((2, 3, 3, 3), W, B, {}),
    "pool 8 of 7": (X, W, B, {"pool_size": 8}),
    "no channels": ((2, 0, 9, 9), (5, 0, 3, 3), B, {}),
    "empty height": ((2, 3, 0, 9), W, B, {}),
    "empty width": ((2, 3, 9, 0), W, B, {}),
    "unbatched wrong channels": ((4, 9, 9), W, B, {}),
    "unbatched too small": ((3, 2, 2), W, B, {}),
    "zero stride": (X, W, B, {"stride": 0}),
    "negative stride": (X, W, B, {"stride": -1}),
    "three strides": (X, W, B, {"stride": (1, 1, 1)}),
    "negative padding": (X, W, B, {"padding": -1}),
    "three paddings": (X, W, B, {"padding": (1, 1, 1)}),
    "unknown padding": (X, W, B, {"padding": "full"}),
    "same with stride": (X, W, B, {"padding": "same", "stride": 2}),
    "zero dilation": (X, W, B, {"dilation": 0}),
    "zero groups": (X, W, B, {"groups": 0}),
    "uneven groups": (X, W, B, {"groups": 2}),
    "zero pool": (X, W, B, {"pool_size": 0}),
    "three pool sizes": (X, W, B, {"pool_size": (2, 2, 2)}),
    "zero pool stride": (X, W, B, {"pool_stride": 0}),
    "negative pool stride": (X, W, B, {"pool_stride": -2}),
    "input dtype": (torch.zeros(X, dtype=torch.float64), W, B, {}),
    "weight dtype": (X, torch.zeros(W, dtype=torch.float64), B, {}),
    "bias dtype": (X, W, torch.zeros(B, dtype=torch.float64), {}),
    "half input": (torch.zeros(X, dtype=torch.float16), W, B, {}),
    "integer input": (torch.zeros(X, dtype=torch.int64), W, B, {}),
    "float stride": (X, W, B, {"stride": 1.5}),
    "string groups": (X, W, B, {"groups": "one"}),
    "list input": ([[1.0]], W, B, {}),
    "no input": (None, W, B, {}),
    "no weight": (X, None, B, {}),
    "number for bias": (X, W, 1.0, {}),
    "0-D input": ((), W, B, {}),
    "0-D weight": (X, (), B, {}),
    "0-D bias": (X, W, (), {}),
    "empty bias": (X, W, (0,), {}),
    "6-D weight": (X, (5, 3, 3, 3, 1, 1), B, {}),
    "no output channels": (X, (0, 3, 3, 3), None, {}),
    "empty kernel": (X, (5, 3, 0, 3), B, {}),
    "all empty": ((0, 0, 0, 0), (0, 0, 0, 0), None, {}),
    "no samples, wrong channels": ((0, 4, 9, 9), W, B, {}),
    "no samples, too small": ((0, 3, 2, 2), W, B, {}),
    "unbatched 2-D weight": ((3, 9, 9), (5, 3), B, {}),
    "unbatched wrong bias": ((3, 9, 9), W, (6,), {}),
    "bfloat16 input": (torch.zeros(X, dtype=torch.bfloat16), W, B, {}),
    "bfloat16 bias": (torch.zeros(X).bfloat16(), torch.zeros(W).bfloat16(), torch.zeros(B), {}),
    "boolean operands": (torch.zeros(X).bool(), torch.zeros(W).bool(), None, {}),
    "complex input": (torch.zeros(X, dtype=torch.complex64), W, B, {}),
    "sparse weight": (X, torch.zeros(W).to_sparse(), B, {}),
    "list weight": (X, [[1.0]], B, {}),
    "string bias": (X, W, "none", {}),
    "float padding": (X, W, B, {"padding": 0.5}),
    "no stride": (X, W, B, {"stride": None}),
    "no padding": (X, W, B, {"padding": None}),
    "empty stride": (X, W, B, {"stride": ()}),
    "string stride": (X, W, B, {"stride": "two"}),
    "float pool": (X, W, B, {"pool_size": 2.5}),
    "float pool of one": (X, W, B, {"pool_size": 1.0}),
    "no pool sizes": (X, W, B, {"pool_size": ()}),
    "three pool sizes of one": (X, W, B, {"pool_size": (1, 1, 1)}),
    "three pool strides of one": (X, W, B, {"pool_size": 1, "pool_stride": (1, 1, 1)}),
    "float pool stride of one": (X, W, B, {"pool_size": 1, "pool_stride": 1.0}),
    "string pool": (X, W, B, {"pool_size": "two"}),
    "negative pool": (X, W, B, {"pool_size": -2}),
    "zero pool width": (X, W, B, {"pool_size": (2, 0)}),
    "float pool stride": (X, W, B, {"pool_stride": 1.5}),
    "three pool strides": (X, W, B, {"pool_stride": (1, 1, 1)}),
    "zero pool stride of one": (X, W, B, {"pool_stride": (2, 0)}),
    "negative dilation": (X, W, B, {"dilation": -1}),
    "dilated kernel larger than input": (X, W, B, {"dilation": 5}),
    "negative groups": (X, W, B, {"groups": -1}),
    "groups of no channels": (X, W, B, {"groups": 4}),
    "stride past 64 bits": (X, W, B, {"stride": 2**63}),
    "padding past 64 bits": (X, W, B, {"padding": 2**63}),
    "padding past half of 64 bits": (X, W, B, {"padding": 2**62}),
    "pool past 32 bits": (X, W, B, {"pool_size": 2**32 + 2}),
    "pool past 64 bits": (X, W, B, {"pool_size": 2**64}),
    "pool stride past 32 bits": (X, W, B, {"pool_stride": 2**40}),
    "pool stride past 64 bits": (X, W, B, {"pool_stride": 2**63}),
}


@pytest.mark.parametrize("name", BAD)
def test_message_is_stocks(name: str) -> None:
    x, w, b, options = BAD[name]
    assert call(mnist_fast.conv_relu_maxpool2d, x, w, b, options) == call(stock, x, w, b, options)


@pytest.mark.parametrize(
    "name", [name for name, (_, w, b, options) in BAD.items() if w == W and b == B and not options]
)
def test_message_of_the_module_is_stocks(name: str) -> None:
    block = mnist_fast.ConvReLUMaxPool2d(3, 5, 3)
    conv = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    x = BAD[name][0]
    assert call(lambda x, *_: block(x), x, W, B, {}) == call(lambda x, *_: conv(x), x, W, B, {})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dilation": 2}, "dilation"),
        ({"stride": 3}, "stride"),
        ({"pool_size": 100}, "pool"),
        ({"padding": 5}, "padding"),
    ],
)
def test_insisting_on_a_kernel_says_why_there_is_none(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(NoKernelError, match=reason):
        mnist_fast.conv_relu_maxpool2d(torch.zeros(X), torch.zeros(W), None, **options, backend="fused")


def test_insisting_on_a_kernel_for_half_precision() -> None:
    with pytest.raises(NoKernelError, match="float16"):
        mnist_fast.conv_relu_maxpool2d(torch.zeros(X).half(), torch.zeros(W).half(), None, backend="fused")


def test_kernel_operators_refuse_what_they_cannot_do() -> None:
    forward = torch.ops.mnist_fast.conv_relu_maxpool2d_forward
    good = ([1, 1], [0, 0], True, [2, 2], [2, 2], False, True)
    with pytest.raises(RuntimeError, match="channels"):
        forward(torch.zeros(2, 4, 9, 9), torch.zeros(W), None, *good)
    with pytest.raises(RuntimeError, match="stride must be 1 or 2, got 3"):
        forward(torch.zeros(X), torch.zeros(W), None, [3, 1], *good[1:])
    with pytest.raises(RuntimeError, match="dtype"):
        forward(torch.zeros(X).half(), torch.zeros(W).half(), None, *good)
    with pytest.raises(RuntimeError, match="output must not be empty"):
        forward(torch.zeros(2, 3, 3, 3), torch.zeros(W), None, *good)
