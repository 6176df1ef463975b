"""What each convolution of a network makes of one picture: its feature maps, and the winners of the pooling windows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnist_fast.models.spec import NetworkSpec
from mnist_fast.nn import ConvReLUMaxPool2d
from mnist_fast.ops.codes import unpack_codes
from mnist_fast.ops.coverage import why_not_covered
from mnist_fast.ops.geometry import Geometry, pair


@dataclass(frozen=True)
class LayerView:
    """One fused block and one picture.

    Attributes:
        name: of the block in its network.
        maps: its output, (O, H, W).
        winners: (O, H, W) int64: for each value the position in its pooling window, counted by rows, or DEAD
            (:mod:`mnist_fast.ops.codes`); None where no kernel runs.
    """

    name: str
    block: ConvReLUMaxPool2d
    maps: Tensor
    winners: Tensor | None


@torch.inference_mode()
def look_inside(model: nn.Module, picture: Tensor, spec: NetworkSpec) -> list[LayerView]:
    """The blocks of a reference network, in order; none in one of stock modules.

    Args:
        model: in evaluation mode; its children are called one after the other.
        picture: uint8 (28, 28).
        spec: for the numbers that the picture is normalised with.
    """
    views = []
    weight = next(model.parameters())
    values = ((picture.to(weight.device, weight.dtype)[None, None] / 255) - spec.mean) / spec.std
    for name, layer in model.named_children():
        output = layer(values)
        if isinstance(layer, ConvReLUMaxPool2d):
            winners = winners_of(layer, values)
            views.append(LayerView(name, layer, output[0], None if winners is None else winners[0]))
        values = output
    return views


def winners_of(block: ConvReLUMaxPool2d, input: Tensor) -> Tensor | None:
    """Positions (N, O, H, W) as the forward kernel notes them for backward; None where no kernel runs."""
    assert not isinstance(block.padding, str), "the reference networks give numbers"
    sizes = (block.stride, block.padding, block.pool_size, block.pool_stride)
    stride, padding, pool_size, pool_stride = (tuple(pair(size)) for size in sizes)
    geometry = Geometry(stride, padding, relu=block.relu, pool_size=pool_size, pool_stride=pool_stride)
    if why_not_covered(input, block.weight, block.bias, geometry) is not None:
        return None
    output, code = torch.ops.mnist_fast.conv_relu_maxpool2d_forward(
        input, block.weight, block.bias, stride, padding, block.relu, pool_size, pool_stride, False, True
    )
    return unpack_codes(code, output.shape)
