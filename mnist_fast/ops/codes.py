"""The winners of the pooling windows as the kernels leave them for backward; the format is csrc/core/conv_pool.h's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mnist_fast.ops.geometry import Ints

DEAD = 255  # code of a pooled value that ReLU blocks


def code_shape(output: Sequence[int], pool_size: Ints, device: torch.device) -> tuple[int, ...]:
    """Shape of the code, uint8, of an output (N, O, H, W): a byte for each value; on the CPU without pooling a bit."""
    n, o, out_h, out_w = output
    one_bit = pool_size[0] * pool_size[1] == 1 and device.type != "cuda"
    return (n, out_h, (out_w * o + 7) // 8) if one_bit else (n, out_h, out_w, o)


def unpack_codes(code: Tensor, output: Sequence[int]) -> Tensor:
    """One int64 for each value of the output (N, O, H, W): the position in its window, counted by rows, or DEAD."""
    n, o, out_h, out_w = output
    if code.dim() == 3:
        bits = code.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8, device=code.device) & 1
        code = torch.where(bits.flatten(2)[..., : out_w * o].reshape(n, out_h, out_w, o) == 1, 0, DEAD)
    return code.permute(0, 3, 1, 2).to(torch.int64)
