"""Which calls the kernels cover. The one place that decides between them and the stock operators."""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_fast.ops import cuda, library
from mnist_fast.ops.geometry import Geometry

_DTYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, torch.bfloat16, torch.float16),
}
_MAX_KERNEL = 7
_MAX_STRIDE = 2
_MAX_POOL_POSITIONS = 255
_MAX_POOL_STRIDE = 2**31 - 1  # stock's, which refuses larger ones
_MAX_ELEMENTS = 2**31 - 1  # of one sample and of the weights: kernels count within them in 32 bits


def why_not_covered(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> str | None:
    """None where a kernel computes this call, else what no kernel covers (also for calls that stock will refuse)."""
    stride, padding, dilation, groups, _, pool_size, pool_stride, _ = geometry
    if not (isinstance(input, Tensor) and isinstance(weight, Tensor) and isinstance(bias, Tensor | None)):
        return "no kernel unless input, weight and bias are tensors"
    if library.missing is not None:
        return f"the kernels are missing: {library.missing}"
    if library.backend == "stock":
        return "MNIST_FAST_BACKEND=stock turns the kernels off"
    device = input.device
    if not (input.is_cpu or input.is_cuda) or weight.device != device or (bias is not None and bias.device != device):
        return f"no kernel for device {device}"
    if input.is_cuda and (reason := cuda.why_not_usable(device.index)) is not None:
        return reason
    dtypes = _DTYPES[device.type]
    if input.dtype not in dtypes or weight.dtype != input.dtype or (bias is not None and bias.dtype != input.dtype):
        *most, last = (str(dtype).removeprefix("torch.") for dtype in dtypes)
        return f"no {device.type.upper()} kernel for {input.dtype}; {', '.join(most)} and {last} have one"
    if input.layout is not torch.strided or weight.layout is not torch.strided:
        return f"no kernel for layout {input.layout}"
    if input.dim() != 4 or weight.dim() != 4:
        return f"no kernel for a {input.dim()}-D input with a {weight.dim()}-D weight"
    if not (
        _is_pair(stride) and _is_pair(padding) and _is_pair(dilation) and _is_pair(pool_size) and _is_pair(pool_stride)
    ):
        return "no kernel unless sizes are one whole number or two"
    if groups != 1 or dilation[0] != 1 or dilation[1] != 1:
        return f"no kernel for groups={groups}, dilation={tuple(dilation)}"
    o, c, kh, kw = weight.shape
    _, channels, h, w = input.shape
    if not (0 < kh <= _MAX_KERNEL and 0 < kw <= _MAX_KERNEL):
        return f"no kernel for a {kh}x{kw} filter; up to 7x7"
    if not (0 < stride[0] <= _MAX_STRIDE and 0 < stride[1] <= _MAX_STRIDE):
        return f"no kernel for stride {tuple(stride)}; 1 and 2"
    if not (0 <= padding[0] < kh and 0 <= padding[1] < kw):
        return f"no kernel for padding {tuple(padding)} with a {kh}x{kw} filter"
    if (
        pool_size[0] < 1
        or pool_size[1] < 1
        or pool_size[0] * pool_size[1] > _MAX_POOL_POSITIONS
        or not (1 <= pool_stride[0] <= _MAX_POOL_STRIDE and 1 <= pool_stride[1] <= _MAX_POOL_STRIDE)
    ):
        return f"no kernel for pool size {tuple(pool_size)}, stride {tuple(pool_stride)}"
    if o == 0 or c == 0 or channels != c or (bias is not None and bias.shape != (o,)):
        return f"no kernel for input {tuple(input.shape)}, weight {tuple(weight.shape)}"
    if (h + 2 * padding[0] - kh) // stride[0] + 1 < pool_size[0] or h == 0:
        return f"the pooled output would be empty: input height {h}"
    if (w + 2 * padding[1] - kw) // stride[1] + 1 < pool_size[1] or w == 0:
        return f"the pooled output would be empty: input width {w}"
    if c * (h + 14) * (w + 14) > _MAX_ELEMENTS or o * kh * (kw * c + 16) > _MAX_ELEMENTS:
        return "no kernel for a sample or a weight of 2^31 elements"
    if input.is_cuda:
        sizes = (c, h, w, o, kh, kw, *stride, *padding, *pool_size, *pool_stride)
        return cuda.why_not_covered(tuple(map(int, sizes)), input.element_size())
    return None


def _is_pair(size: object) -> bool:
    return isinstance(size, (tuple, list)) and len(size) == 2 and type(size[0]) is int and type(size[1]) is int
