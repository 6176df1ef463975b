"""``torch.ops.mnist_fast.conv_relu_maxpool2d``: schema, dispatch, autograd, autocast, batching, shapes.

Dispatch in one sentence: at every key, a call that :mod:`~mnist_fast.ops.coverage` covers goes to the kernel operators
``conv_relu_maxpool2d_forward`` / ``_backward``, any other decomposes into stock operators on the spot, so that whatever
stock operators support (other devices and dtypes, vmap, forward-mode derivatives, …) is supported here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

from mnist_fast.ops import library
from mnist_fast.ops.autocast import operands_under_autocast
from mnist_fast.ops.codes import code_shape
from mnist_fast.ops.coverage import why_not_covered
from mnist_fast.ops.geometry import Geometry, Ints
from mnist_fast.ops.observed import observed, transformed
from mnist_fast.ops.stock import stock, stock_backward

_NAME = "conv_relu_maxpool2d"
_kernels = torch.ops.mnist_fast

_library = torch.library.Library("mnist_fast", "FRAGMENT")
_library.define(
    f"{_NAME}(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, int[2] padding=0, int[2] dilation=1, "
    "int groups=1, *, bool relu=True, int[2] pool_size=2, int[2]? pool_stride=None, "
    "bool contiguous_output=False) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _tf32(input: Tensor) -> dict[str, bool]:
    """The argument that lets float32 on CUDA round its factors, where torch's setting for convolutions does."""
    if not input.is_cuda or input.dtype is not torch.float32:
        return {}
    # cudnn.allow_tf32, the older name of the setting, raises where the newer one was used.
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    return {"allow_tf32": True} if convolutions.fp32_precision == "tf32" else {}


class FusedBlock(torch.autograd.Function):
    """The kernels' forward and backward as one node of the graph. Saves input, weight and at most a byte a window."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Ints,
        padding: Ints,
        relu: bool,
        pool_size: Ints,
        pool_stride: Ints,
        contiguous_output: bool,
    ) -> Tensor:
        tf32 = _tf32(input)
        with torch._C._AutoDispatchBelowAutograd():
            output, code = _kernels.conv_relu_maxpool2d_forward(
                input, weight, bias, stride, padding, relu, pool_size, pool_stride, contiguous_output, True, **tf32
            )
        ctx.save_for_backward(input, weight, code)
        ctx.geometry = (stride, padding, pool_size, pool_stride)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, code = ctx.saved_tensors
        mask = ctx.needs_input_grad[:3]
        # A graph of backward itself is being recorded (create_graph=True) only where grad mode is on.
        graph = torch.is_grad_enabled()
        compute: Any = stock_backward if graph else _kernels.conv_relu_maxpool2d_backward
        grads = compute(grad_output, input, weight, code, *ctx.geometry, mask, **({} if graph else _tf32(input)))
        return (*(grad if wanted else None for grad, wanted in zip(grads, mask, strict=True)), *[None] * 6)


def _geometry(
    stride: Ints = (1, 1),
    padding: Ints = (0, 0),
    dilation: Ints = (1, 1),
    groups: int = 1,
    *,
    relu: bool = True,
    pool_size: Ints = (2, 2),
    pool_stride: Ints | None = None,
    contiguous_output: bool = False,
) -> Geometry:
    """The dispatcher's arguments after ``bias``; it leaves out those that equal the schema's defaults."""
    return Geometry(stride, padding, dilation, groups, relu, pool_size, pool_stride or pool_size, contiguous_output)


def _stock(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    return stock(input, weight, bias, **geometry._asdict())


def _infer(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """The forward kernel alone: no code for a backward is kept."""
    stride, padding, _, _, relu, pool_size, pool_stride, contiguous_output = geometry
    tf32 = _tf32(input)
    with torch._C._AutoDispatchBelowAutograd():
        return _kernels.conv_relu_maxpool2d_forward(
            input, weight, bias, stride, padding, relu, pool_size, pool_stride, contiguous_output, False, **tf32
        )[0]


def _run(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """The kernels, as a node of the autograd graph where one is being recorded."""
    if torch.is_grad_enabled() and (
        input.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        stride, padding, _, _, relu, pool_size, pool_stride, contiguous_output = geometry
        return FusedBlock.apply(input, weight, bias, stride, padding, relu, pool_size, pool_stride, contiguous_output)
    return _infer(input, weight, bias, geometry)


def _below_autograd(input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
    geometry = _geometry(*args, **kwargs)
    covered = why_not_covered(input, weight, bias, geometry) is None
    return (_infer if covered else _stock)(input, weight, bias, geometry)


def _autograd(input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
    geometry = _geometry(*args, **kwargs)
    covered = why_not_covered(input, weight, bias, geometry) is None and not transformed()
    return (_run if covered else _stock)(input, weight, bias, geometry)


def run_covered(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """The operator on a call that :func:`why_not_covered` lets through.

    The dispatcher and its way back into Python take as long as a small kernel. Where nobody observes the operator, the
    node of the autograd graph is reached without them.
    """
    if not observed(input, weight, bias):
        return _run(input, weight, bias, geometry)
    stride, padding, dilation, groups, relu, pool_size, pool_stride, contiguous_output = geometry
    return _kernels.conv_relu_maxpool2d(
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


def _autocast(device: str) -> Any:
    key = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, f"Autocast{device.upper()}"))

    def run(input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        operands = operands_under_autocast(input, weight, bias)
        with torch._C._ExcludeDispatchKeyGuard(key):
            return torch.ops.mnist_fast.conv_relu_maxpool2d(*operands, *args, **kwargs)

    return run


_library.impl(_NAME, _below_autograd, "CompositeExplicitAutograd")
_library.impl(_NAME, _autograd, "Autograd")
_library.impl(_NAME, stock, "FuncTorchBatched")
_library.impl(_NAME, _autocast("cpu"), "AutocastCPU")
_library.impl(_NAME, _autocast("cuda"), "AutocastCUDA")


def _pooled_shape(
    input: Tensor,
    weight: Tensor,
    stride: Ints,
    padding: Ints,
    pool_size: Ints,
    pool_stride: Ints,
) -> list[int]:
    size = [input.shape[0], weight.shape[0]]
    for i in range(2):
        conv = (input.shape[2 + i] + 2 * padding[i] - weight.shape[2 + i]) // stride[i] + 1
        size.append((conv - pool_size[i]) // pool_stride[i] + 1)
    return size


def _fake_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    relu: bool,
    pool_size: Ints,
    pool_stride: Ints,
    contiguous_output: bool,
    with_code: bool,
    allow_tf32: bool = False,
) -> tuple[Tensor, Tensor]:
    n, o, out_h, out_w = _pooled_shape(input, weight, stride, padding, pool_size, pool_stride)
    channels_last = not contiguous_output and torch.channels_last in (
        suggest_memory_format(input),
        suggest_memory_format(weight),
    )
    output = torch.empty(
        (n, o, out_h, out_w),
        dtype=input.dtype,
        device=input.device,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )
    code = code_shape((n, o, out_h, out_w), pool_size, input.device) if with_code else (0,)
    return output, input.new_empty(code, dtype=torch.uint8)


def _fake_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    code: Tensor,
    stride: Ints,
    padding: Ints,
    pool_size: Ints,
    pool_stride: Ints,
    output_mask: list[bool] | tuple[bool, ...],
    allow_tf32: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    def like(tensor: Tensor) -> Tensor:
        return torch.empty(
            tensor.shape, dtype=tensor.dtype, device=tensor.device, memory_format=suggest_memory_format(tensor)
        )

    nothing = input.new_empty(0)
    return (
        like(input) if output_mask[0] else nothing,
        like(weight) if output_mask[1] else nothing.clone(),
        input.new_empty(weight.shape[0] if output_mask[2] else 0),
    )


if library.missing is None:
    torch.library.register_fake("mnist_fast::conv_relu_maxpool2d_forward", _fake_forward, lib=_library)
    torch.library.register_fake("mnist_fast::conv_relu_maxpool2d_backward", _fake_backward, lib=_library)
