"""The public function."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mnist_fast.errors import MnistFastError
from mnist_fast.ops import library
from mnist_fast.ops.autocast import operands_under_autocast
from mnist_fast.ops.coverage import why_not_covered
from mnist_fast.ops.geometry import Geometry, Ints, Size2d, pair
from mnist_fast.ops.registration import run_covered
from mnist_fast.ops.stock import stock

Backend = Literal["auto", "fused", "stock"]


class NoKernelError(MnistFastError):
    """``backend="fused"`` was asked for and no kernel covers the call."""


def conv_relu_maxpool2d(
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
    backend: Backend = "auto",
) -> Tensor:
    """``max_pool2d(relu(conv2d(input, weight, bias, …)), pool_size, pool_stride)`` in one pass over the input.

    Equals the three stock operators, forward and backward, to within rounding; errors are stock's own. Where a kernel
    covers the call, the convolution's output is never stored, and backward touches only the winners of the pooling.

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (O, C / groups, kh, kw), of the input's dtype.
        bias: (O,) or None.
        stride, padding, dilation, groups: as for :func:`torch.nn.functional.conv2d`.
        relu: whether ReLU stands between convolution and pooling (after the pooling it would give the same values).
        pool_size: the pooling window; 1 means no pooling.
        pool_stride: its stride; None: ``pool_size``.
        contiguous_output: return a contiguous (NCHW) tensor whatever the layout of the input, so that flattening it
            copies nothing.
        backend: "auto" takes a kernel where one covers the call, "fused" insists on it, "stock" never takes one.

    Returns:
        (N, O, H', W') or (O, H', W'), of the input's dtype; channels_last if the input or the weight is, unless
        ``contiguous_output``.

    Raises:
        NoKernelError: ``backend="fused"`` and no kernel covers the call; the message says why.
    """
    pool_stride = pool_size if pool_stride is None else pool_stride
    # Exported programs shall load without this package: they see the stock operators.
    if backend != "stock" and not torch.compiler.is_exporting():
        unbatched = isinstance(input, Tensor) and input.dim() == 3
        batch = input.unsqueeze(0) if unbatched else input
        explicit = _explicit_padding(padding, weight, dilation, stride)
        geometry = Geometry(
            pair(stride),
            explicit or (),
            pair(dilation),
            groups,
            relu,
            pair(pool_size),
            pair(pool_stride),
            contiguous_output,
        )
        operands = operands_under_autocast(batch, weight, bias)
        reason = why_not_covered(*operands, geometry)
        if reason is None:
            output = run_covered(*operands, geometry)
            return output.squeeze(0) if unbatched else output
        if backend == "fused" or library.backend == "fused":
            raise NoKernelError(f"backend='fused': {reason}")
    return stock(
        input,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        relu=relu,
        pool_size=pool_size,
        pool_stride=pool_stride,
        contiguous_output=contiguous_output,
    )


def _explicit_padding(padding: Size2d | str, weight: Tensor, dilation: Size2d, stride: Size2d) -> Ints | None:
    """Padding as numbers; None where "same" is uneven on the two sides, or something stock will refuse."""
    if not isinstance(padding, str):
        return pair(padding)
    if padding == "valid":
        return (0, 0)
    if not isinstance(weight, Tensor):
        return None
    totals = [d * (k - 1) for d, k in zip(pair(dilation), weight.shape[2:], strict=False)]
    even = all(total % 2 == 0 for total in totals) and all(s == 1 for s in pair(stride))
    return [total // 2 for total in totals] if padding == "same" and even else None
