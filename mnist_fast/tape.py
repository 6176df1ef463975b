"""A training step on a CPU as the list of its operators, recorded once and replayed without autograd and modules.

A small network's step takes as long to find out what to do next, in modules, autograd and optimizers, as to do it. What
they find out is the same in every step: which operators, in which order, on which tensors.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from mnist_fast.ops.observed import shortcuts_recorded
from mnist_fast.postponing import postpone_growth
from mnist_fast.recording import Function, Recording

_aten = torch.ops.aten
# Without autograd these give what they are given; autograd puts them everywhere.
_IDENTITIES = (_aten.detach.default, _aten.alias.default)
# Of all that is noted, only these are left out where nobody uses the result: nothing else can depend on them.
_VIEWS = (*_IDENTITIES, _aten.t.default, _aten.view.default, _aten.expand.default, operator.getitem)

_recording: Tape | None = None


def also_when_replayed(function: Callable[[Tensor], None], tensor: Tensor) -> None:
    """Call ``function``, which may look at the tensor's values, and where a step is being recorded, in each replay."""
    if _recording is None:
        function(tensor)
    else:
        _recording.note_call(function, tensor)


class TapeRecorder:
    """Records the operators of a function of CPU tensors. Replays give the same result to the bit."""

    name = "recording of the step's operators"

    def run(self, function: Function, *arguments: Tensor) -> Tensor:
        return function(*arguments)

    def record(self, function: Function, *arguments: Tensor) -> Recording:
        global _recording
        _recording = tape = Tape(*arguments)
        try:
            with shortcuts_recorded(), tape:
                result = function(*arguments)
        finally:
            _recording = None
        if tape.reason:
            return Recording(result, None, tape.reason)
        return Recording(result, tape.replay(result))


class Tape(TorchDispatchMode):
    """Notes each operator that is called within it, and on what: arguments, earlier results, or other tensors.

    The other tensors (parameters, optimizer states) are noted themselves, not as copies: what changes them changes them
    in each replay. Numbers are noted as they are, so that what changes from call to call has to be in a tensor.

    Args:
        arguments: the tensors that each replay will be given others for.

    Attributes:
        reason: why there can be no replay, once an operator has given a number, say, on which anything may depend.
    """

    def __init__(self, *arguments: Tensor) -> None:
        super().__init__()
        self.reason = ""
        self._graph = fx.Graph()
        self._others: dict[str, Any] = {}
        # Neither by address, which a tensor that is gone leaves to another, nor kept alive: autograd copies gradients
        # that somebody else holds.
        self._nodes = WeakTensorKeyDictionary()
        for number, argument in enumerate(arguments):
            self._nodes[argument] = self._graph.placeholder(f"argument{number}")
        self._paused = False

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = call(*args, **kwargs)
        if not self._paused:
            noted_args, noted_kwargs = tree_map(self._noted, (args, kwargs))
            self._note_result(result, self._graph.call_function(call, noted_args, noted_kwargs))
        return result

    def note_call(self, function: Callable[[Tensor], None], tensor: Tensor) -> None:
        """Call a Python function, now and in each replay."""
        self._graph.call_function(_call, (self._other(function), self._noted(tensor)))
        self._paused = True
        try:
            function(tensor)
        finally:
            self._paused = False

    def replay(self, result: Tensor) -> Function:
        """What calls all that was noted again, and returns what ``result`` was then."""
        self._graph.output(self._nodes[result])
        for node in self._graph.nodes:
            if node.target in _IDENTITIES:
                node.replace_all_uses_with(node.args[0])
            elif node.target is _aten.t.default and node.args[0].target is _aten.t.default:
                node.replace_all_uses_with(node.args[0].args[0])
        self._graph.eliminate_dead_code(lambda node: node.target not in _VIEWS)
        postpone_growth(self._graph)
        code = self._graph.python_code("self")
        namespace = dict(code.globals)
        exec(_direct(code.src, namespace), namespace)
        forward, others = namespace["forward"], SimpleNamespace(**self._others)

        def replay(*arguments: Tensor) -> Tensor:
            with torch.no_grad():
                return forward(others, *arguments)

        return replay

    def _note_result(self, result: Any, node: fx.Node) -> None:
        if isinstance(result, Tensor):
            if result not in self._nodes:  # an operator that works in place returns what it was given
                self._nodes[result] = node
                node.meta["bytes"] = result.nbytes
        elif isinstance(result, list | tuple):
            for number, item in enumerate(result):
                self._note_result(item, self._graph.call_function(operator.getitem, (node, number)))
        elif result is not None:
            self.reason = self.reason or f"{node.target} gives something that is no tensor"

    def _noted(self, value: Any) -> Any:
        """The node of a tensor; any other value as it is."""
        if not isinstance(value, Tensor):
            return value
        if value not in self._nodes:
            self._nodes[value] = self._other(value)
        return self._nodes[value]

    def _other(self, value: Any) -> fx.Node:
        name = f"other{len(self._others)}"
        self._others[name] = value
        return self._graph.create_node("get_attr", name)


def _direct(source: str, namespace: dict[str, Any]) -> str:
    """``source`` with each operator under a name of its own, entered into ``namespace``: no look-ups in a replay."""

    def name(call: re.Match[str]) -> str:
        own = "_".join(call.groups())
        namespace[own] = operator.attrgetter(".".join(call.groups()))(torch.ops)._op
        return f"{own}("

    return re.sub(r"torch\.ops\.(\w+)\.(\w+)\.(\w+)\(", name, source)


def _call(function: Callable[[Tensor], None], tensor: Tensor) -> None:
    function(tensor)
