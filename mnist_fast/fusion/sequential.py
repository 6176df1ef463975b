"""Chains of modules in ``nn.Sequential`` containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from mnist_fast.fusion.layers import as_given, like, pools, why_convolution_stays, why_layer_stays, why_pool_stays
from mnist_fast.nn import ConvReLUMaxPool2d

NamedModules = list[tuple[str, nn.Module]]
Reasons = dict[str, str]  # by the path of a convolution: why it stays, or what stays behind it


def called_from_forward(module: nn.Module) -> Iterator[nn.Module]:
    """Modules that a hand-written ``forward`` calls, rather than an ``nn.Sequential``."""
    for parent in module.modules():
        if not _runs_children_in_order(parent):
            yield from parent.children()


def fuse_sequentials(module: nn.Module) -> Reasons:
    """Put blocks into all containers of ``module``, itself among them."""
    reasons: Reasons = {}

    def rewrite(path: str, children: NamedModules) -> NamedModules:
        return _fused_chain(path, children, reasons)

    _rewrite_sequentials(module, rewrite)
    return reasons


def unfuse_sequentials(module: nn.Module) -> None:
    _rewrite_sequentials(module, lambda _, children: _unfused_chain(children))


def _runs_children_in_order(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _rewrite_sequentials(module: nn.Module, rewrite: Callable[[str, NamedModules], NamedModules]) -> None:
    for path, container in module.named_modules():
        if _runs_children_in_order(container):
            children = rewrite(f"{path}." if path else "", list(container._modules.items()))
            container._modules.clear()
            container._modules.update(children)


def _fused_chain(path: str, children: NamedModules, reasons: Reasons) -> NamedModules:
    """Blocks take their convolution's name; the names of what they swallowed disappear, the others stay."""
    result: NamedModules = []
    rest = list(children)
    while rest:
        name, module = rest.pop(0)
        if isinstance(module, nn.Conv2d) and not isinstance(module, ConvReLUMaxPool2d):
            reason = why_convolution_stays(module)
            if reason is None:
                module, reason = _with_followers(module, rest)
            if reason is not None:
                reasons[path + name] = reason
        result.append((name, module))
    return result


def _with_followers(conv: nn.Conv2d, rest: NamedModules) -> tuple[nn.Conv2d, str | None]:
    """The block for ``conv`` and the head of ``rest``, which is taken away; and why there is none or what stays."""
    relu, pool = False, None
    while rest:
        follower = rest[0][1]
        if type(follower) is nn.ReLU and not relu:
            relu = True
        elif type(follower) is nn.MaxPool2d and pool is None and why_pool_stays(follower) is None:
            pool = follower
        else:
            break
        rest.pop(0)
    left = rest[0][1] if rest else None
    if not relu and pool is None:
        return conv, "it is the last of its nn.Sequential" if left is None else why_layer_stays(left)
    size, stride = (1, 1) if pool is None else (pool.kernel_size, pool.stride)
    block = like(
        conv,
        ConvReLUMaxPool2d,
        relu=relu,
        pool_size=size,
        pool_stride=stride,
        contiguous_output=type(left) is nn.Flatten,
    )
    return block, why_layer_stays(left) if pool is None and isinstance(left, nn.MaxPool2d) else None


def _unfused_chain(children: NamedModules) -> NamedModules:
    result: NamedModules = []
    for name, module in children:
        if not isinstance(module, ConvReLUMaxPool2d):
            result.append((name, module))
            continue
        result.append((name, like(module, nn.Conv2d)))
        if module.relu:
            result.append((f"{name}_relu", nn.ReLU()))
        if pools(module):
            result.append((f"{name}_pool", nn.MaxPool2d(as_given(module.pool_size), as_given(module.pool_stride))))
    return result
