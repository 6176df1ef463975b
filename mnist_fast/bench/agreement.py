"""A benchmark of a wrong result is refused: before a mode is timed, its outputs and gradients are compared.

The oracle is the stock network in float64. Errors are normwise, ‖a − oracle‖ / ‖oracle‖. Where two values of a pooling
window are closer than the precision resolves, either may win it, and its gradient goes to another place; so a gradient
may err up to twice as much as stock eager does in the same precision, or up to the floor, whichever is more.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mnist_fast.bench import passes
from mnist_fast.bench.cases import Case
from mnist_fast.bench.config import MODES
from mnist_fast.bench.modes import Subject, build_subject
from mnist_fast.errors import MnistFastError

# float32: rounding errors are near 1e-6, a window won by another element of 10^5 is 4e-3 of a gradient's norm.
# bfloat16 resolves 4e-3. A wrong border, layout or scale is far above both.
OUTPUT_FLOOR = {"fp32": 1e-4, "bf16": 2e-2}
GRADIENT_FLOOR = {"fp32": 1e-2, "bf16": 2e-2}


class Oracle:
    """The right results of a case, and how far a mode may be from them."""

    def __init__(self, case: Case, precision: str) -> None:
        self._case = case
        self._expected = _results(_float64(case))
        eager = _errors(_results(build_subject(case, MODES["eager"], precision)), self._expected)
        self._allowed = {name: max(2 * error, _floor(name, precision)) for name, error in eager.items()}

    def check(self, subject: Subject) -> None:
        """Raise :class:`MnistFastError` where an output or a gradient of ``subject`` is not the stock one."""
        for name, error in _errors(_results(subject), self._expected).items():
            if not error <= self._allowed[name]:  # also where it is NaN
                raise MnistFastError(
                    f"mode {subject.mode!r} computes a wrong {name} for {self._case.layer} of {self._case.arch}: "
                    f"relative error {error:.1e}, allowed {self._allowed[name]:.1e}; "
                    f"its speed means nothing, so nothing was timed; leave this mode out with --modes"
                )


def _floor(name: str, precision: str) -> float:
    return (OUTPUT_FLOOR if name.endswith("output") else GRADIENT_FLOOR)[precision]


def _float64(case: Case) -> Subject:
    module: nn.Module = copy.deepcopy(case.stock).double()
    value = case.input.double().contiguous().requires_grad_(case.input_requires_grad)
    return Subject("float64", module, module, value, case.labels)


def _results(subject: Subject) -> dict[str, Tensor]:
    """Outputs of training and inference and all gradients, by name. Dropout is off: modes draw different masks."""
    subject.module.eval()
    subject.clear_gradients()
    output = subject.forward(subject.input)
    output.backward(passes.output_gradient(subject))
    results: dict[str, Tensor] = {"output": output.detach(), "inference output": passes.inference(subject)()}
    if subject.input.requires_grad:
        assert subject.input.grad is not None
        results["gradient of the input"] = subject.input.grad
    for name, parameter in subject.module.named_parameters():
        assert parameter.grad is not None
        results[f"gradient of {name}"] = parameter.grad
    subject.clear_gradients()
    return results


def _errors(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    return {name: _normwise_error(actual[name].double(), reference) for name, reference in expected.items()}


def _normwise_error(actual: Tensor, reference: Tensor) -> float:
    return float(torch.linalg.vector_norm(actual - reference) / torch.linalg.vector_norm(reference).clamp_min(1e-30))
