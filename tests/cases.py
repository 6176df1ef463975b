"""One table of block shapes for every test of the operator, and how to make tensors for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """A fused block and its input, batch excluded."""

    name: str
    c: int
    h: int
    w: int
    o: int
    k: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    relu: bool = True
    pool_size: tuple[int, int] = (2, 2)
    pool_stride: tuple[int, int] | None = None
    bias: bool = True

    @property
    def options(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "relu": self.relu,
            "pool_size": self.pool_size,
            "pool_stride": self.pool_stride,
        }

    def __str__(self) -> str:
        return self.name


def block(name: str, c: int, size: int, o: int, k: int, *, padding: int = 0, pool: int = 2, **rest: Any) -> Block:
    return Block(name, c, size, size, o, (k, k), padding=(padding, padding), pool_size=(pool, pool), **rest)


REFERENCE = [
    block("cnn-conv1", 1, 28, 32, 3, pool=1),
    block("cnn-conv2", 32, 26, 64, 3),
    block("cnn-padded-conv1", 1, 28, 32, 3, padding=1),
    block("cnn-padded-conv2", 32, 14, 64, 3, padding=1),
    block("lenet-conv1", 1, 28, 6, 5),
    block("lenet-conv2", 6, 12, 16, 5),
    block("cnn-dropout-conv2", 32, 26, 64, 3, relu=False),
    block("anchor-conv1", 1, 28, 24, 5),
    block("anchor-conv2", 24, 12, 32, 3),
    block("speedrun-conv1", 1, 28, 8, 5, pool=3),
    block("speedrun-conv2", 8, 8, 32, 3),
]

ODD = [
    block("rgb", 3, 20, 16, 3, padding=1, pool=1),
    block("no-bias", 4, 9, 7, 3, bias=False),
    block("plain-convolution", 5, 8, 9, 3, pool=1, relu=False),
    block("unpooled-inner", 24, 9, 20, 3, padding=1, pool=1),
    block("one-by-one", 17, 5, 33, 1),
    block("seven-by-seven", 2, 15, 5, 7, padding=3, pool=3),
    block("one-window", 1, 4, 1, 3),
    block("wide-run", 40, 7, 3, 5, padding=2),
    Block("rectangles", 3, 11, 18, 10, (2, 5), stride=(2, 1), padding=(1, 0), pool_size=(3, 2)),
    Block("strided", 6, 17, 16, 31, (3, 3), stride=(2, 2), padding=(1, 1)),
    Block("overlapping-pool", 3, 12, 13, 17, (3, 3), pool_size=(3, 3), pool_stride=(2, 2)),
    Block("gaps-between-windows", 2, 14, 15, 8, (3, 3), pool_size=(2, 2), pool_stride=(3, 4)),
    Block("subsampling-pool", 2, 9, 9, 8, (3, 3), pool_size=(1, 1), pool_stride=(2, 2)),
    Block("large-window", 1, 18, 18, 4, (3, 3), pool_size=(15, 16)),
]

ALL = REFERENCE + ODD

# One small layer of each kind, for tests that try many things on each.
KINDS = [
    block("first", 1, 11, 6, 5),
    block("tails", 3, 11, 17, 3),
    block("inner", 16, 10, 32, 3),
    block("padded", 8, 9, 16, 3, padding=1),
    block("linear", 3, 11, 17, 3, relu=False),
    block("no-pooling", 5, 8, 9, 3, pool=1),
]

# Sizes on both sides of every vector and block boundary.
BATCHES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 33]
INPUT_CHANNELS = [1, 2, 3, 4, 5, 8, 16, 17, 32]
OUTPUT_CHANNELS = [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64]
KERNELS = [1, 2, 3, 5, 7]
LARGEST_EXTENT = 33


def any_block(
    choose: Callable[[Sequence[Any]], Any], largest_work: float = 5e6, *, cuda: bool = False
) -> tuple[Block, int]:
    """A block that the CPU kernels cover, and a batch size.

    Every second one is a layer as networks have it (a square kernel, stride 1, plain pooling), for which there are
    special paths.

    Args:
        choose: picks one of a sequence: :meth:`random.Random.choice` for a fair spread, a draw of Hypothesis for shapes
            that shrink.
        largest_work: multiplications of the whole batch's convolution, above which batches are not chosen.
        cuda: only with pooling windows that the CUDA kernels cover as well.
    """
    if choose([False, True]):
        k = (choose([3, 3, 5]),) * 2
        stride, padding, pool, pool_stride = (1, 1), (choose([0, k[0] // 2]),) * 2, (choose([1, 2, 2, 3]),) * 2, None
    else:
        k, stride = (choose(KERNELS), choose(KERNELS)), (choose([1, 2]), choose([1, 2]))
        padding = (choose(range(k[0])), choose(range(k[1])))
        pool = (choose([1, 2, 2, 3]),) * 2 if cuda else (choose(range(1, 5)), choose(range(1, 5)))
        closest = pool[0] if cuda else 1
        pool_stride = choose([None, (choose(range(closest, 6)), choose(range(closest, 6)))])
    smallest = [max(1, (pool[i] - 1) * stride[i] + k[i] - 2 * padding[i]) for i in (0, 1)]
    h, w = (choose(range(extent, LARGEST_EXTENT + 1)) for extent in smallest)
    c, o = choose(INPUT_CHANNELS), choose(OUTPUT_CHANNELS)
    work = c * o * h * w * k[0] * k[1]
    n = choose([n for n in BATCHES if n <= 1 or n * work <= largest_work])
    relu, bias = choose([True, True, False]), choose([True, True, False])
    return Block("drawn", c, h, w, o, k, stride, padding, relu, pool, pool_stride, bias), n


def small(case: Block) -> Block:
    """The same kernel path on few channels and pixels."""
    h, w = (
        min(extent, max(9, stride * (pool - 1) + k))
        for extent, stride, pool, k in zip((case.h, case.w), case.stride, case.pool_size, case.k, strict=True)
    )
    return replace(case, c=min(case.c, 3), o=min(case.o, 5), h=h, w=w)


@dataclass
class Tensors:
    """Operands of a block: input, weight, bias (or None), and a gradient for the output."""

    x: Tensor
    w: Tensor
    b: Tensor | None
    g: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Tensors:
        return Tensors(
            function(self.x), function(self.w), None if self.b is None else function(self.b), function(self.g)
        )

    def leaves(self, dtype: torch.dtype) -> Tensors:
        """Copies of another dtype that collect gradients."""

        def leaf(t: Tensor) -> Tensor:
            return t.detach().to(dtype).clone(memory_format=torch.preserve_format).requires_grad_()

        return Tensors(leaf(self.x), leaf(self.w), None if self.b is None else leaf(self.b), self.g.to(dtype))


def output_shape(case: Block, n: int) -> tuple[int, int, int, int]:
    size = []
    for i, extent in enumerate((case.h, case.w)):
        conv = (extent + 2 * case.padding[i] - case.k[i]) // case.stride[i] + 1
        size.append((conv - case.pool_size[i]) // (case.pool_stride or case.pool_size)[i] + 1)
    return n, case.o, size[0], size[1]


def integers(case: Block, n: int, dtype: torch.dtype = torch.float32) -> Tensors:
    """Small integers: every sum is exact in any order, so results must be equal; ties and zeros are frequent."""

    def draw(bound: int, *shape: int) -> Tensor:
        return torch.randint(-bound, bound + 1, shape).to(dtype)

    return Tensors(
        draw(4, n, case.c, case.h, case.w),
        draw(2, case.o, case.c, *case.k),
        draw(8, case.o) if case.bias else None,
        draw(2, *output_shape(case, n)),
    )


def normals(case: Block, n: int, dtype: torch.dtype = torch.float32) -> Tensors:
    """Normal values with weights scaled as in a network."""
    fan_in = case.c * case.k[0] * case.k[1]
    return Tensors(
        torch.randn(n, case.c, case.h, case.w, dtype=dtype),
        torch.randn(case.o, case.c, *case.k, dtype=dtype) / fan_in**0.5,
        torch.randn(case.o, dtype=dtype) * 0.1 if case.bias else None,
        torch.randn(output_shape(case, n), dtype=dtype),
    )
