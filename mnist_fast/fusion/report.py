"""What became of each convolution of a network, and why."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from mnist_fast.fusion.layers import pools
from mnist_fast.nn import ConvReLUMaxPool2d
from mnist_fast.ops.functional import NoKernelError
from mnist_fast.ops.geometry import pair


@dataclass(frozen=True)
class FusionReport:
    """The convolutions of a network by their names; ``str()`` gives a line for each.

    Attributes:
        fused: what each block stands for, such as ``"ReLU, 2x2 max-pooling"``; behind a semicolon the pooling that
            stays, and why.
        not_fused: the others, and why.
        no_kernel: those of ``fused`` that no kernel covers, so that they run as the stock operators, and why.
    """

    fused: dict[str, str]
    not_fused: dict[str, str]
    no_kernel: dict[str, str]

    def __str__(self) -> str:
        lines = {name: f"fused with {what}" for name, what in self.fused.items()}
        lines |= {name: f"{lines[name]}, but runs as stock operators: {why}" for name, why in self.no_kernel.items()}
        lines |= {name: f"not fused: {why}" for name, why in self.not_fused.items()}
        width = max(map(len, lines), default=0)
        return "\n".join(f"{name:<{width}}  {line}" for name, line in lines.items())


def make_report(before: nn.Module, after: nn.Module, reasons: dict[str, str], default: str) -> FusionReport:
    """The report on a network and what ``fuse`` made of it.

    Args:
        reasons: by name: why a convolution stays, or what stays behind a block.
        default: why those without a reason stay.
    """
    fused, not_fused, no_kernel = {}, {}, {}
    for name, was in before.named_modules():
        if not isinstance(was, nn.Conv2d) or isinstance(was, ConvReLUMaxPool2d):
            continue
        now = after.get_submodule(name)
        if not isinstance(now, ConvReLUMaxPool2d):
            not_fused[name] = reasons.get(name, default)
            continue
        fused[name] = "; ".join(filter(None, [_taken_over(now), reasons.get(name)]))
        why = why_no_kernel(now)
        if why is not None:
            no_kernel[name] = why
    return FusionReport(fused, not_fused, no_kernel)


def _taken_over(block: ConvReLUMaxPool2d) -> str:
    parts = ["ReLU"] if block.relu else []
    if pools(block):
        parts.append(f"{'x'.join(map(str, pair(block.pool_size)))} max-pooling")
    return ", ".join(parts)


@torch.no_grad()
def why_no_kernel(block: ConvReLUMaxPool2d) -> str | None:
    """None where a kernel covers the block for the dtype and device of its weight; asked with one small sample."""
    asked = copy.copy(block)
    asked.backend = "fused"
    sizes = zip(*map(pair, (block.kernel_size, block.dilation, block.stride, block.pool_size)), strict=True)
    shape = [kernel * dilation + pool * stride for kernel, dilation, stride, pool in sizes]
    try:
        asked(block.weight.new_zeros((1, block.in_channels, *shape)))
    except NoKernelError as error:
        return str(error).removeprefix("backend='fused': ")
    return None
