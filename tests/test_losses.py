"""The training loss against torch's own; tests/test_training.py sees the window at work."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mnist_fast.losses import CrossEntropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("classes", [2, 10])
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
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_of_non_finite_outputs_is_not_finite(smoothing: float, value: float) -> None:
    outputs = torch.zeros(4, 10)
    outputs[2, 3] = value
    assert not CrossEntropy(10, smoothing)(outputs, torch.zeros(4, dtype=torch.int64)).isfinite()
