"""The block in stock operators: what the kernels must equal, and what serves wherever no kernel does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_fast.ops.codes import DEAD, unpack_codes
from mnist_fast.ops.geometry import Ints, Size2d


def stock(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size2d = 1,
    padding: Size2d | str = 0,
    dilation: Size2d = 1,
    groups: int = 1,
    *,
    relu: bool = True,
    pool_size: Size2d = 2,
    pool_stride: Size2d | None = None,
    contiguous_output: bool = False,
) -> Tensor:
    """``max_pool2d(relu(conv2d(...)))``; errors are stock's own."""
    output = F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    if relu:
        output = F.relu(output)
    if not (_is_one(pool_size) and (pool_stride is None or _is_one(pool_stride))):
        output = F.max_pool2d(output, pool_size, pool_stride)
    return output.contiguous() if contiguous_output else output


def _is_one(size: Size2d) -> bool:
    """Whether a size is the number 1, once or twice; what max_pool2d refuses is not."""
    sizes = size if isinstance(size, (tuple, list)) else (size,)
    return len(sizes) in (1, 2) and all(isinstance(s, int) and s == 1 for s in sizes)


def stock_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    code: Tensor,
    stride: Ints,
    padding: Ints,
    pool_size: Ints,
    pool_stride: Ints,
    output_mask: list[bool] | tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients from the same code that the kernels use, in operators that can be differentiated once more.

    The code is a constant of the derivative: which position wins does not change under small changes of the input.
    """
    n, o, out_h, out_w = grad_output.shape
    conv_h = (input.shape[2] + 2 * padding[0] - weight.shape[2]) // stride[0] + 1
    conv_w = (input.shape[3] + 2 * padding[1] - weight.shape[3]) // stride[1] + 1
    code = unpack_codes(code, grad_output.shape)
    alive = code != DEAD
    winner = torch.where(alive, code, 0)
    row = torch.arange(out_h, device=code.device).view(-1, 1) * pool_stride[0] + winner // pool_size[1]
    column = torch.arange(out_w, device=code.device) * pool_stride[1] + winner % pool_size[1]
    grad_conv = grad_output.new_zeros(n, o, conv_h * conv_w).scatter_add(
        2, (row * conv_w + column).flatten(2), torch.where(alive, grad_output, 0).flatten(2)
    )
    return torch.ops.aten.convolution_backward(
        grad_conv.view(n, o, conv_h, conv_w), input, weight, [o], stride, padding, [1, 1], False, [0, 0], 1, output_mask
    )
