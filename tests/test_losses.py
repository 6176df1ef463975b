"""The training loss against torch's own; tests/test_training.py sees the window at work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mnist_fast.losses import CrossEntropy, backward


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("classes", [1, 2, 10, 47])
def test_cross_entropy_is_torchs_with_smoothed_labels(classes: int, smoothing: float) -> None:
    targets = torch.randint(classes, (33,))
    for outputs in (3 * torch.randn(33, classes), torch.log_softmax(torch.randn(33, classes), dim=1)):
        exact = outputs.double().requires_grad_()
        expected = F.cross_entropy(exact, targets, label_smoothing=smoothing)
        expected.backward()
        outputs.requires_grad_()
        loss = CrossEntropy(classes, smoothing)(outputs, targets)
        loss.backward()
        torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
        torch.testing.assert_close(outputs.grad.double(), exact.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_parts_add_up_and_impossible_classes_count_as_torch_counts_them(smoothing: float) -> None:
    """The parts of a step; infinite costs where there is a share of the label, none where there is not."""
    outputs, targets = 50 * torch.randn(20, 10), torch.randint(10, (20,))
    loss = CrossEntropy(10, smoothing)
    parts = loss(outputs[:7], targets[:7], 20) + loss(outputs[7:], targets[7:], 20)
    torch.testing.assert_close(parts, loss(outputs, targets))
    outputs[3, (targets[3] + 1) % 10] = -torch.inf
    torch.testing.assert_close(
        loss(outputs, targets), F.cross_entropy(outputs.double(), targets, label_smoothing=smoothing).float()
    )


def test_the_gradient_follows_what_the_loss_is_multiplied_by() -> None:
    outputs, targets = torch.randn(5, 10, requires_grad=True), torch.randint(10, (5,))
    (3 * CrossEntropy(10, 0.1)(outputs, targets)).backward()
    expected = torch.autograd.grad(3 * F.cross_entropy(outputs, targets, label_smoothing=0.1), outputs)[0]
    torch.testing.assert_close(outputs.grad, expected)


def test_backward_is_torchs_to_the_bit_without_its_operators() -> None:
    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            names.append(str(call))
            return call(*args, **(kwargs or {}))

    names: list[str] = []
    outputs, targets = torch.randn(5, 10, requires_grad=True), torch.randint(10, (5,))
    loss = CrossEntropy(10, 0.1)(outputs, targets)
    expected = torch.autograd.grad(loss, outputs, retain_graph=True)[0]
    with Names():
        backward(loss)
    assert torch.equal(outputs.grad, expected)
    assert not {"aten.ones_like.default", "aten.mul.Tensor"}.intersection(names)
    for other in (2 * loss.detach().double().requires_grad_(), torch.ones(1, requires_grad=True).sum()):
        backward(other)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("target", [-1, 10])
def test_a_label_that_no_class_has_is_refused(smoothing: float, target: int) -> None:
    with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
        CrossEntropy(10, smoothing)(torch.zeros(2, 10), torch.tensor([0, target]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_of_non_finite_outputs_is_not_finite(smoothing: float, value: float) -> None:
    outputs = torch.zeros(4, 10)
    outputs[2, 3] = value
    assert not CrossEntropy(10, smoothing)(outputs, torch.zeros(4, dtype=torch.int64)).isfinite()
