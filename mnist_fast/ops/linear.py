"""The linear layer through oneDNN, whose float32 products are twice as fast as torch's default library on some CPUs.

That library takes its AVX2 path on processors of other makers than its own. oneDNN, which torch ships for convolutions
and bfloat16, takes AVX-512 wherever it is there. All three products of the layer are one operator, on views.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_fast.ops import library
from mnist_fast.ops.observed import observed, traced

# Setting up oneDNN's primitive takes longer than a small product. In whole training steps it pays from this many
# multiplications a product, and from this many weights, whatever the batch: those do not stay in a core's cache.
_MIN_MULTIPLICATIONS = 2**22
_MIN_WEIGHTS = 2**20
# One row is a product of a matrix and a vector, which the default library does well.
_MIN_BATCH = 2

_machine_gains = (
    library.missing is None
    and library.backend != "stock"
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """:func:`torch.nn.functional.linear`: the same arguments, results to within rounding, and errors."""
    if (
        traced()  # before all else: none of these conditions shall become a guard of a graph
        or not _machine_gains
        or type(input) is not Tensor
        or (input.numel() * len(weight) < _MIN_MULTIPLICATIONS and weight.numel() < _MIN_WEIGHTS)
        or not _covers(input, weight, bias)
        or observed(input, weight, bias)
    ):
        return F.linear(input, weight, bias)
    if torch.is_grad_enabled() and (
        input.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _Linear.apply(input, weight, bias)
    return _product(input, weight, bias)


def _covers(input: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN computes this call as stock does."""
    return (
        input.dim() == 2 == weight.dim()
        and all(tensor is None or _is_plain(tensor) for tensor in (input, weight, bias))
        and len(input) >= _MIN_BATCH
        and input.shape[1] == weight.shape[1]
        and (bias is None or bias.shape == weight.shape[:1])
        and torch._C._get_mkldnn_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.dtype is torch.float32
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not tensor.is_nested
        and tensor.is_contiguous()
    )


def _product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias`` of strided matrices."""
    return torch.ops.mkldnn._linear_pointwise.default(input, weight, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return _product(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        # A graph of backward itself is being recorded (create_graph=True) only where grad mode is on.
        product = F.linear if torch.is_grad_enabled() or observed(grad_output) else _product
        grad_output = grad_output.contiguous()  # it may be expanded: the gradient of a sum
        for_input, for_weight, for_bias = ctx.needs_input_grad
        return (
            product(grad_output, weight.t()) if for_input else None,
            product(grad_output.t(), input.t()) if for_weight else None,
            grad_output.sum(0) if for_bias else None,
        )
