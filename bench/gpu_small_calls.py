"""A small call of every kind of kernel, forward and backward: what bench/gpu.sh runs under compute-sanitizer."""

from __future__ import annotations

from itertools import product

import torch

import mnist_fast
from mnist_fast.ops import cuda

SHAPES = (  # channels, size, output channels, filter, padding, pooling
    (1, 12, 8, 5, 0, 3), (1, 12, 32, 3, 1, 1), (6, 12, 16, 5, 0, 2),
    (8, 10, 16, 3, 1, 2), (24, 9, 32, 3, 0, 2), (32, 8, 64, 3, 0, 2),
)  # fmt: skip


def main() -> None:
    kinds = ((torch.bfloat16, False), (torch.float16, False), (torch.float32, True), (torch.float32, False))
    for (dtype, tf32), direct in product(kinds, (True, False)):
        torch.backends.cudnn.allow_tf32 = tf32
        cuda.set_direct(direct)
        for c, size, o, k, padding, pool in SHAPES:
            for memory_format in (torch.contiguous_format, torch.channels_last):
                x = torch.randn(3, c, size, size, device="cuda", dtype=dtype).to(memory_format=memory_format)
                w = torch.randn(o, c, k, k, device="cuda", dtype=dtype).requires_grad_()
                y = mnist_fast.conv_relu_maxpool2d(
                    x.requires_grad_(), w, None, padding=padding, pool_size=pool, backend="fused"
                )
                y.sum().backward()
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
