"""``fuse`` brings the fused block into a stock network, ``unfuse`` takes it out again.

Both return a copy with the same ``state_dict``. Chains inside ``nn.Sequential`` containers are rewritten in place, so
the network keeps its classes. Where a convolution is called from somebody's own ``forward``
(``F.relu(self.conv1(x))``), the network is traced with ``torch.fx`` and becomes a ``GraphModule`` of the same name.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import fx, nn

from mnist_fast.errors import MnistFastError
from mnist_fast.nn import ConvReLUMaxPool2d, Linear
from mnist_fast.ops.geometry import Size2d


class NotFusedWarning(UserWarning):
    """Convolutions were left as they were; the message says where and why."""


class CannotTraceError(MnistFastError):
    """``torch.fx`` cannot trace a ``forward``, or the traced graph would not mean the same."""


def fuse(module: nn.Module) -> nn.Module:
    """A copy of ``module`` whose Conv2d → ReLU → MaxPool2d chains run as fused blocks, and Linear layers as ours.

    Recognised: either order of ReLU and pooling, either missing; as modules of an ``nn.Sequential``, or as modules,
    functions or methods in a ``forward`` that ``torch.fx`` can trace. Convolutions with hooks or parametrisations, and
    poolings with padding, dilation, ``ceil_mode`` or indices stay as they are.

    Warns:
        NotFusedWarning: a ``forward`` with convolutions could not be traced.
    """
    module = _with_linear(copy.deepcopy(module), nn.Linear, Linear)
    _rewrite_sequentials(module, _fused_chain)
    if any(type(child) is nn.Conv2d for child in _called_from_forward(module)):
        try:
            return _rewrite_graph(module, _fuse_node)
        except CannotTraceError as error:
            warnings.warn(f"only nn.Sequential chains were fused: {error}", NotFusedWarning, stacklevel=2)
    return module


def unfuse(module: nn.Module) -> nn.Module:
    """The inverse: a copy of ``module`` of ``torch.nn`` modules only, with the same ``state_dict``.

    It can be saved whole and loaded where this package is not installed.

    Raises:
        CannotTraceError: a block is called from a ``forward`` that ``torch.fx`` cannot trace.
    """
    module = _with_linear(copy.deepcopy(module), Linear, nn.Linear)
    if isinstance(module, ConvReLUMaxPool2d):
        return _unfused_block(module)
    _rewrite_sequentials(module, _unfused_chain)
    if any(isinstance(child, ConvReLUMaxPool2d) for child in _called_from_forward(module)):
        return _rewrite_graph(module, _unfuse_node)
    return module


# --- blocks -----------------------------------------------------------------------------------------------------------

_CONV_ARGUMENTS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")


def _like(conv: nn.Conv2d, kind: type[nn.Conv2d], **block: Any) -> Any:
    """A module of another kind with the very parameters of ``conv``."""
    arguments = {name: getattr(conv, name) for name in _CONV_ARGUMENTS}
    # On the meta device nothing is initialised, so no random numbers are drawn.
    made = kind(**arguments, bias=conv.bias is not None, padding_mode=conv.padding_mode, device="meta", **block)
    made.weight, made.bias = conv.weight, conv.bias
    return made.train(conv.training)


def _is_fusable_convolution(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return type(module) is nn.Conv2d and not (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _is_fusable_pool(module: nn.Module) -> TypeGuard[nn.MaxPool2d]:
    return type(module) is nn.MaxPool2d and _is_plain_pool(
        module.padding, module.dilation, module.return_indices, module.ceil_mode
    )


def _is_plain_pool(padding: Any, dilation: Any, return_indices: Any, ceil_mode: Any) -> bool:
    return padding in (0, (0, 0)) and dilation in (1, (1, 1)) and not return_indices and not ceil_mode


def _with_linear(module: nn.Module, old: type[nn.Linear], new: type[nn.Linear]) -> nn.Module:
    """``module`` with the linear layers of one class made another's; that changes nothing but their ``forward``."""
    for child in module.modules():
        if type(child) is old:
            child.__class__ = new
    return module


# --- nn.Sequential ----------------------------------------------------------------------------------------------------

NamedModules = list[tuple[str, nn.Module]]


def _runs_children_in_order(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _called_from_forward(module: nn.Module) -> Iterator[nn.Module]:
    """Modules that a hand-written ``forward`` calls, rather than an ``nn.Sequential``."""
    for parent in module.modules():
        if not _runs_children_in_order(parent):
            yield from parent.children()


def _rewrite_sequentials(module: nn.Module, rewrite: Callable[[NamedModules], NamedModules]) -> None:
    for container in module.modules():
        if _runs_children_in_order(container):
            children = rewrite(list(container._modules.items()))  # type: ignore[arg-type]
            container._modules.clear()
            container._modules.update(children)


def _fused_chain(children: NamedModules) -> NamedModules:
    """Blocks take their convolution's name; the names of what they swallowed disappear, the others stay."""
    result: NamedModules = []
    rest = list(children)
    while rest:
        name, module = rest.pop(0)
        if _is_fusable_convolution(module):
            relu, pool = False, None
            while rest:
                follower = rest[0][1]
                if type(follower) is nn.ReLU and not relu:
                    relu = True
                elif _is_fusable_pool(follower) and pool is None:
                    pool = follower
                else:
                    break
                rest.pop(0)
            if relu or pool is not None:
                size, stride = (1, 1) if pool is None else (pool.kernel_size, pool.stride)
                flattened = bool(rest) and type(rest[0][1]) is nn.Flatten
                module = _like(
                    module,
                    ConvReLUMaxPool2d,
                    relu=relu,
                    pool_size=size,
                    pool_stride=stride,
                    contiguous_output=flattened,
                )
        result.append((name, module))
    return result


def _unfused_chain(children: NamedModules) -> NamedModules:
    result: NamedModules = []
    for name, module in children:
        if not isinstance(module, ConvReLUMaxPool2d):
            result.append((name, module))
            continue
        result.append((name, _like(module, nn.Conv2d)))
        if module.relu:
            result.append((f"{name}_relu", nn.ReLU()))
        if _pools(module):
            result.append((f"{name}_pool", nn.MaxPool2d(_as_given(module.pool_size), _as_given(module.pool_stride))))
    return result


def _pools(block: ConvReLUMaxPool2d) -> bool:
    return any(size not in (1, (1, 1), [1, 1]) for size in (block.pool_size, block.pool_stride))


def _as_given(size: Size2d) -> int | tuple[int, ...]:
    return size if isinstance(size, int) else tuple(size)


# --- torch.fx ---------------------------------------------------------------------------------------------------------


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


def _rewrite_graph(module: nn.Module, rewrite: Callable[[fx.GraphModule, fx.Node], None]) -> fx.GraphModule:
    traced = _trace(module)
    for node in list(traced.graph.nodes):
        if node.op == "call_module":
            rewrite(traced, node)
    traced.graph.lint()
    traced.recompile()
    return traced


def _fuse_node(traced: fx.GraphModule, node: fx.Node) -> None:
    conv = traced.get_submodule(str(node.target))
    calls = [n for n in traced.graph.nodes if n.op == "call_module" and n.target == node.target]
    if not _is_fusable_convolution(conv) or len(calls) > 1:
        return
    relu, pool, swallowed, last = False, None, [], node
    while len(last.users) == 1:
        follower = next(iter(last.users))
        if not relu and _is_relu(traced, follower):
            relu = True
        elif pool is None and (found := _pool_of(traced, follower)) is not None:
            pool = found
        else:
            break
        swallowed.append(follower)
        last = follower
    if not swallowed:
        return
    size, stride = pool or ((1, 1), (1, 1))
    block = _like(conv, ConvReLUMaxPool2d, relu=relu, pool_size=size, pool_stride=stride)
    traced.set_submodule(str(node.target), block)
    last.replace_all_uses_with(node)
    for follower in reversed(swallowed):
        traced.graph.erase_node(follower)


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(traced.get_submodule(str(node.target))) is nn.ReLU
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    return node.op == "call_function" and node.target in (F.relu, F.relu_, torch.relu, torch.relu_)


def _pool_of(traced: fx.GraphModule, node: fx.Node) -> tuple[Any, Any] | None:
    """Size and stride, if the node is a pooling that a block can take over."""
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        return (module.kernel_size, module.stride) if _is_fusable_pool(module) else None
    if node.op != "call_function" or node.target not in (F.max_pool2d, torch.max_pool2d):
        return None
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    size, stride = given["kernel_size"], given.get("stride")
    if any(isinstance(value, fx.Node) for value in (size, stride)) or not _is_plain_pool(
        given.get("padding", 0), given.get("dilation", 1), given.get("return_indices"), given.get("ceil_mode")
    ):
        return None
    return size, size if stride in (None, [], ()) else stride


def _unfuse_node(traced: fx.GraphModule, node: fx.Node) -> None:
    block = traced.get_submodule(str(node.target))
    if isinstance(block, ConvReLUMaxPool2d):
        traced.set_submodule(str(node.target), _like(block, nn.Conv2d))
        _append_stock(traced.graph, node, block)


def _append_stock(graph: fx.Graph, conv: fx.Node, block: ConvReLUMaxPool2d) -> fx.Node:
    """Adds ReLU and pooling behind ``conv``, for all its users."""
    users, last = list(conv.users), conv
    with graph.inserting_after(conv):
        if block.relu:
            last = graph.call_function(F.relu, (last,))
    if _pools(block):
        with graph.inserting_after(last):
            last = graph.call_function(F.max_pool2d, (last, block.pool_size, block.pool_stride))
    for user in users:
        user.replace_input_with(conv, last)
    return last


def _unfused_block(block: ConvReLUMaxPool2d) -> fx.GraphModule:
    """A lone block: its parameters stay at the top, so the convolution becomes a function."""
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
