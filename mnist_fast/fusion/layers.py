"""Single layers: which ones a block can stand for and why not others, and the block in place of a convolution."""

from __future__ import annotations

from typing import Any

from torch import nn

from mnist_fast.nn import ConvReLUMaxPool2d
from mnist_fast.ops.geometry import Size2d

_CONV_ARGUMENTS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")


def like(conv: nn.Conv2d, kind: type[nn.Conv2d], **block: Any) -> Any:
    """A module of another kind with the very parameters of ``conv``."""
    arguments = {name: getattr(conv, name) for name in _CONV_ARGUMENTS}
    # On the meta device nothing is initialised, so no random numbers are drawn.
    made = kind(**arguments, bias=conv.bias is not None, padding_mode=conv.padding_mode, device="meta", **block)
    made.weight, made.bias = conv.weight, conv.bias
    return made.train(conv.training)


def why_convolution_stays(conv: nn.Module) -> str | None:
    """None for a convolution that a block can stand for."""
    if nn.utils.parametrize.is_parametrized(conv):
        return "it has parametrisations"
    if type(conv) is not nn.Conv2d:
        return f"it is a {type(conv).__name__}, which may do more than nn.Conv2d"
    if conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks or conv._backward_pre_hooks:
        return "it has hooks, which a block would not run as before"
    return None


def why_pool_stays(pool: nn.MaxPool2d) -> str | None:
    """None for a pooling that a block can take over."""
    return why_pooling_stays(pool.padding, pool.dilation, pool.return_indices, pool.ceil_mode)


def why_pooling_stays(padding: Any, dilation: Any, return_indices: Any, ceil_mode: Any) -> str | None:
    """As :func:`why_pool_stays`, for the arguments of the function."""
    if padding not in (0, (0, 0), [0, 0]):
        return f"max-pooling with padding={padding}"
    if dilation not in (1, (1, 1), [1, 1]):
        return f"max-pooling with dilation={dilation}"
    if return_indices:
        return "max-pooling with indices"
    return "max-pooling with ceil_mode" if ceil_mode else None


def why_layer_stays(layer: nn.Module) -> str:
    """What to tell of a layer behind a convolution that no block can take over."""
    if isinstance(layer, nn.MaxPool2d) and (reason := why_pool_stays(layer)) is not None:
        return f"{reason} follows"
    if isinstance(layer, nn.BatchNorm2d):
        return (
            "BatchNorm2d follows; for evaluation torch.fx.experimental.optimization.fuse folds it into the convolution"
        )
    return f"{type(layer).__name__} follows"


def pools(block: ConvReLUMaxPool2d) -> bool:
    return any(size not in (1, (1, 1), [1, 1]) for size in (block.pool_size, block.pool_stride))


def as_given(size: Size2d) -> int | tuple[int, ...]:
    return size if isinstance(size, int) else tuple(size)
