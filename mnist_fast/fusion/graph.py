"""Convolutions that a hand-written ``forward`` calls, found with ``torch.fx``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from mnist_fast.errors import MnistFastError
from mnist_fast.fusion.layers import (
    like,
    pools,
    why_convolution_stays,
    why_layer_stays,
    why_pool_stays,
    why_pooling_stays,
)
from mnist_fast.nn import ConvReLUMaxPool2d, Linear


class CannotTraceError(MnistFastError):
    """``torch.fx`` cannot trace a ``forward``, or the traced graph would not mean the same."""


def fuse_graph(module: nn.Module) -> tuple[nn.Module, dict[str, str | None]]:
    """``module`` with blocks in its ``forward``, as a GraphModule; itself where none came in.

    Returns:
        Also, by the name of each convolution that ``forward`` calls: why it stays, or what stays behind its block.

    Raises:
        CannotTraceError: as its name says.
    """
    traced = _trace(module)
    reasons = _for_each_call(traced, _is_convolution, _fuse_node)
    count = [sum(isinstance(child, ConvReLUMaxPool2d) for child in one.modules()) for one in (module, traced)]
    return (module if count[0] == count[1] else traced), reasons


def unfuse_graph(module: nn.Module) -> nn.Module:
    """``module`` without blocks. Raises CannotTraceError: as its name says."""
    traced = _trace(module)
    _for_each_call(traced, _is_block, _unfuse_node)
    return traced


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (ConvReLUMaxPool2d, Linear)) or super().is_leaf_module(m, module_qualified_name)


def _trace(module: nn.Module) -> fx.GraphModule:
    training = module.training
    name = type(module).__name__
    graphs = []
    try:
        for mode in (not training, training):
            graphs.append(_Tracer().trace(module.train(mode)))
    except Exception as error:  # a forward is anybody's code: whatever it raises under tracing means the same
        raise CannotTraceError(f"{name}.forward cannot be traced: {str(error).splitlines()[0]}") from error
    finally:
        module.train(training)
    if str(graphs[0]) != str(graphs[1]):
        raise CannotTraceError(f"{name}.forward does different things in training and evaluation")
    graphs[1]._tracer_cls = fx.Tracer  # ours would be named in a pickle of the result
    traced = fx.GraphModule(module, graphs[1], class_name=name)
    for path, leaf in module.named_modules():  # a GraphModule drops what forward never calls; a state_dict must not
        if not list(leaf.children()) and not _has_module(traced, path):
            traced.add_submodule(path, leaf)
    if traced.state_dict().keys() != module.state_dict().keys():
        raise CannotTraceError(f"{name} holds parameters that its forward does not use")
    return traced.train(training)


def _has_module(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True


def _is_block(module: nn.Module) -> bool:
    return isinstance(module, ConvReLUMaxPool2d)


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and not _is_block(module)


def _for_each_call(
    traced: fx.GraphModule,
    wanted: Callable[[nn.Module], bool],
    rewrite: Callable[[fx.GraphModule, fx.Node, Any], str | None],
) -> dict[str, str | None]:
    """Rewrites each call of a wanted module; what ``rewrite`` returns, by the module's name."""
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    called = [(node, traced.get_submodule(str(node.target))) for node in calls]  # as it was before any was rewritten
    found = {str(node.target): rewrite(traced, node, module) for node, module in called if wanted(module)}
    traced.graph.lint()
    traced.recompile()
    return found


def _fuse_node(traced: fx.GraphModule, node: fx.Node, conv: nn.Conv2d) -> str | None:
    """Puts a block in place of a call; returns why it stays, or what stays behind the block."""
    reason = why_convolution_stays(conv)
    if reason is not None:
        return reason
    calls = [n for n in traced.graph.nodes if n.op == "call_module" and n.target == node.target]
    if len(calls) > 1:
        return f"forward calls it {len(calls)} times"
    relu, pool, swallowed, last = False, None, [], node
    while len(last.users) == 1:
        follower = next(iter(last.users))
        if not relu and _is_relu(traced, follower):
            relu = True
        elif pool is None and isinstance(found := _pool_of(traced, follower), tuple):
            pool = found
        else:
            break
        swallowed.append(follower)
        last = follower
    if not swallowed:
        return _why_followers_stay(traced, node)
    size, stride = pool or ((1, 1), (1, 1))
    block = like(conv, ConvReLUMaxPool2d, relu=relu, pool_size=size, pool_stride=stride)
    traced.set_submodule(str(node.target), block)
    last.replace_all_uses_with(node)
    for follower in reversed(swallowed):
        traced.graph.erase_node(follower)
    left = [_pool_of(traced, follower) for follower in node.users]
    return f"{left[0]} follows" if pool is None and len(left) == 1 and isinstance(left[0], str) else None


def _why_followers_stay(traced: fx.GraphModule, node: fx.Node) -> str:
    if len(node.users) != 1:
        return f"its result is used {len(node.users)} times"
    follower = next(iter(node.users))
    if follower.op == "output":
        return "its result is what forward returns"
    if follower.op == "call_module":
        return why_layer_stays(traced.get_submodule(str(follower.target)))
    pool = _pool_of(traced, follower)
    name = pool if isinstance(pool, str) else getattr(follower.target, "__name__", str(follower.target))
    return f"{name} follows"


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(traced.get_submodule(str(node.target))) is nn.ReLU
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    return node.op == "call_function" and node.target in (F.relu, F.relu_, torch.relu, torch.relu_)


def _pool_of(traced: fx.GraphModule, node: fx.Node) -> tuple[Any, Any] | str | None:
    """Size and stride of a max-pooling; as text why no block can take it over; None: it is no max-pooling."""
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        return (why_pool_stays(module) or (module.kernel_size, module.stride)) if type(module) is nn.MaxPool2d else None
    if node.op != "call_function" or node.target not in (F.max_pool2d, torch.max_pool2d):
        return None
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    size, stride = given["kernel_size"], given.get("stride")
    if any(isinstance(value, fx.Node) for value in (size, stride)):
        return "max-pooling with a size that is computed"
    reason = why_pooling_stays(
        given.get("padding", 0), given.get("dilation", 1), given.get("return_indices"), given.get("ceil_mode")
    )
    return reason or (size, size if stride in (None, [], ()) else stride)


def _unfuse_node(traced: fx.GraphModule, node: fx.Node, block: ConvReLUMaxPool2d) -> None:
    traced.set_submodule(str(node.target), like(block, nn.Conv2d))
    _append_stock(traced.graph, node, block)


def _append_stock(graph: fx.Graph, conv: fx.Node, block: ConvReLUMaxPool2d) -> fx.Node:
    """Adds ReLU and pooling behind ``conv``, for all its users."""
    users, last = list(conv.users), conv
    with graph.inserting_after(conv):
        if block.relu:
            last = graph.call_function(F.relu, (last,))
    if pools(block):
        with graph.inserting_after(last):
            last = graph.call_function(F.max_pool2d, (last, block.pool_size, block.pool_stride))
    for user in users:
        user.replace_input_with(conv, last)
    return last


def unfused_block(block: ConvReLUMaxPool2d) -> fx.GraphModule:
    """The graph of a lone block: its parameters stay at the top, so the convolution becomes a function."""
    if block.padding_mode != "zeros":
        raise CannotTraceError(f"a lone block with padding_mode={block.padding_mode!r} has no stock form")
    root = nn.Module()
    for name, parameter in block._parameters.items():
        root.register_parameter(name, parameter)
    graph = fx.Graph()
    input, weight = graph.placeholder("input"), graph.get_attr("weight")
    bias = None if block.bias is None else graph.get_attr("bias")
    conv = graph.call_function(
        F.conv2d, (input, weight, bias, block.stride, block.padding, block.dilation, block.groups)
    )
    graph.output(_append_stock(graph, conv, block))
    return fx.GraphModule(root, graph, class_name="ConvReLUMaxPool2d").train(block.training)
