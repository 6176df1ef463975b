"""The order of recorded operators: a result that is larger than what it is made of waits until somebody wants it."""

from __future__ import annotations

import operator

import torch
from torch import fx

_aten = torch.ops.aten
_PARTS = (operator.getitem, _aten.t.default, _aten.view.default, _aten.expand.default)


def postpone_growth(graph: fx.Graph) -> None:
    """Move each operator whose result is larger than its arguments together to where the result is first used.

    The weight gradients of linear layers mostly are: autograd computes them first of all, and only the optimizer wants
    them. Nothing moves past an operator that changes a tensor, draws random numbers or calls Python.

    Args:
        graph: ``meta["bytes"]`` of a node is the size of the tensor that it gives. Arguments without are kept anyway.
    """
    waiting: list[fx.Node] = []
    for node in list(graph.nodes):
        wanted = _wanted(node, waiting)
        if _grows(node) or (wanted and node.target in _PARTS):
            waiting.append(node)
            continue
        for other in waiting if _stays(node) else wanted:
            node.prepend(other)
        waiting = [] if _stays(node) else [other for other in waiting if other not in wanted]


def _wanted(node: fx.Node, waiting: list[fx.Node]) -> list[fx.Node]:
    """Those of ``waiting``, in their order, that a node's arguments are made of."""
    inputs = set(node.all_input_nodes)
    for other in reversed(waiting):
        if other in inputs:
            inputs.update(other.all_input_nodes)
    return [other for other in waiting if other in inputs]


def _grows(node: fx.Node) -> bool:
    if node.target in _PARTS or _stays(node):
        return False
    return node.meta.get("bytes", 0) > sum(other.meta.get("bytes", 0) for other in node.all_input_nodes)


def _stays(node: fx.Node) -> bool:
    """Whether more depends on a node's place than its arguments and its result."""
    if node.op != "call_function":
        return node.op == "output"
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.target not in _PARTS
    return node.target._schema.is_mutable or torch.Tag.nondeterministic_seeded in node.target.tags
