"""Recorded operators that give more than they take wait for whoever wants it."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import fx

from mnist_fast.bench.cases import build_cases
from mnist_fast.bench.config import MODES
from mnist_fast.bench.memory import peak_bytes
from mnist_fast.bench.modes import build_subject
from mnist_fast.bench.passes import prepare
from mnist_fast.bench.timing import warm_up
from mnist_fast.postponing import postpone_growth

aten = torch.ops.aten


class Steps:
    """Builds a graph line by line: ``add(name, operator, arguments, bytes of the result)``."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.nodes = {"x": self.graph.placeholder("x")}

    def add(self, name: str, target: object, arguments: str, size: int | None = None) -> Steps:
        inputs = tuple(self.nodes[argument] for argument in arguments.split())
        node = self.graph.create_node("call_function", target, inputs, name=name)
        if size is not None:
            node.meta["bytes"] = size
        self.nodes[name] = node
        return self

    def order(self, result: str) -> str:
        self.graph.output(self.nodes[result])
        postpone_growth(self.graph)
        self.graph.lint()
        return " ".join(node.name for node in self.graph.nodes if node.op == "call_function")


def grown() -> Steps:
    """Something small of which something big is made; nobody has used that yet."""
    return Steps().add("small", aten.relu.default, "x", 0).add("big", aten.mm.default, "small x", 10)


def test_it_waits_until_it_is_used() -> None:
    steps = grown().add("other", aten.relu.default, "small", 0).add("use", aten.add.Tensor, "other big", 0)
    assert steps.order("use") == "small other big use"


def test_so_does_what_is_made_of_it_and_every_view() -> None:
    steps = grown().add("view", aten.t.default, "big", 10).add("bigger", aten._to_copy.default, "view", 20)
    steps.add("other", aten.relu.default, "small", 0).add("use", aten.add.Tensor, "other bigger", 0)
    assert steps.order("use") == "small other big view bigger use"


def test_only_what_is_wanted_is_made() -> None:
    steps = grown().add("big2", aten.mm.default, "small x", 10).add("use2", aten.relu.default, "big2", 0)
    assert steps.add("use", aten.add.Tensor, "use2 big", 0).order("use") == "small big2 use2 big use"


def test_what_gives_less_than_it_takes_stays() -> None:
    steps = Steps().add("big", aten.relu.default, "x", 0).add("a", aten.mm.default, "big", 10)
    steps.nodes["big"].meta["bytes"] = 10
    steps.add("other", aten.relu.default, "x", 0).add("use", aten.add.Tensor, "other a", 0)
    assert steps.order("use") == "big a other use"


def test_parts_of_a_result_are_taken_at_once() -> None:
    """As long as one part was not, all of them are kept."""
    steps = Steps().add("two", aten.split.Tensor, "x").add("part", operator.getitem, "two", 10)
    steps.add("other", aten.relu.default, "x", 0).add("use", aten.add.Tensor, "other part", 0)
    assert steps.order("use") == "two part other use"


@pytest.mark.parametrize("target", [aten.relu_.default, aten.bernoulli.default, print], ids=str)
def test_nothing_passes_what_has_an_effect(target: object) -> None:
    steps = grown().add("effect", target, "x", 0).add("use", aten.add.Tensor, "effect big", 0)
    assert steps.order("use") == "small big effect use"


REFERENCE = ["cnn", "cnn-padded", "lenet", "cnn-dropout", "anchor", "speedrun"]
CASES = [(arch, precision, batch) for arch in REFERENCE for precision in ("fp32", "bf16") for batch in (64, 256)]


@pytest.mark.parametrize(
    ("arch", "precision", "batch"),
    [pytest.param(*case, marks=[pytest.mark.long] if case != ("cnn", "bf16", 64) else []) for case in CASES],
)
def test_a_step_needs_at_most_half_of_stocks_memory(arch: str, precision: str, batch: int) -> None:
    device = torch.device("cpu")
    (case,) = build_cases(arch, batch, device=device, precision=precision, layers=False, seed=0)
    peaks = {}
    for mode in ("eager", "fused"):
        subject = build_subject(case, MODES[mode], precision)
        step = prepare("step", subject, arch)
        warm_up(step)
        subject.clear_gradients()
        peaks[mode] = peak_bytes(step, device)
    assert peaks["fused"] <= 0.5 * peaks["eager"], peaks
