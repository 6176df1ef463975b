"""The fused block and the linear layer as modules."""

from __future__ import annotations

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from mnist_fast.ops import conv_relu_maxpool2d, linear
from mnist_fast.ops.functional import Backend
from mnist_fast.ops.geometry import Size2d


class ConvReLUMaxPool2d(nn.Conv2d):
    """``Conv2d`` → ``ReLU`` → ``MaxPool2d`` in one kernel.

    It is a :class:`torch.nn.Conv2d`: same parameters, initialisation, ``state_dict`` and arguments.

    Args:
        relu: whether the activation is there.
        pool_size: the pooling window; 1 means no pooling.
        pool_stride: its stride; None: ``pool_size``.
        contiguous_output: as for :func:`mnist_fast.conv_relu_maxpool2d`; for a block in front of a ``Flatten``.
        backend: as for :func:`mnist_fast.conv_relu_maxpool2d`.

    Shapes: (N, C, H, W) or (C, H, W) in, (N, O, H', W') or (O, H', W') out, as the three stock modules would give.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        relu: bool = True,
        pool_size: int | tuple[int, int] = 2,
        pool_stride: int | tuple[int, int] | None = None,
        contiguous_output: bool = False,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )  # fmt: skip
        self.relu = relu
        self.pool_size: Size2d = pool_size
        self.pool_stride: Size2d = pool_size if pool_stride is None else pool_stride
        self.contiguous_output = contiguous_output
        self.backend: Backend = backend

    def forward(self, input: Tensor) -> Tensor:
        padding: Size2d | str = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return conv_relu_maxpool2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            relu=self.relu,
            pool_size=self.pool_size,
            pool_stride=self.pool_stride,
            contiguous_output=self.contiguous_output,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        text = f"{super().extra_repr()}, relu={self.relu}, pool_size={self.pool_size}"
        if self.pool_stride != self.pool_size:
            text += f", pool_stride={self.pool_stride}"
        if self.contiguous_output:
            text += ", contiguous_output=True"
        return text if self.backend == "auto" else f"{text}, backend={self.backend!r}"


class Linear(nn.Linear):
    """:class:`torch.nn.Linear`, through :func:`mnist_fast.ops.linear`. It has nothing else of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)
