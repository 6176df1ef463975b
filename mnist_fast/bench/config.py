"""What can be compared, and the settings of one benchmark. Imports no torch: the command line's help reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mnist_fast.errors import UsageError
from mnist_fast.recipes import RECIPES


@dataclass(frozen=True)
class Mode:
    """One way to run a network: its modules, the memory format of input and weights, and who runs the graph."""

    name: str
    fused: bool = False
    channels_last: bool = False
    compiled: bool = False


MODES = {
    mode.name: mode
    for mode in (
        Mode("eager"),
        Mode("channels_last", channels_last=True),
        Mode("compile", compiled=True),
        Mode("compile_channels_last", channels_last=True, compiled=True),
        Mode("fused", fused=True, channels_last=True),  # as the trainer runs it
        Mode("fused_contiguous", fused=True),
        Mode("fused_compile", fused=True, channels_last=True, compiled=True),
    )
}
DEFAULT_MODES = ("eager", "channels_last", "compile", "fused")

# A training step needs a loss and an optimizer, so a single block has none.
LAYER_PASSES = ("forward", "forward_backward", "inference")
PASSES = ("forward", "forward_backward", "step", "inference")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class BenchConfig:
    """Settings of :func:`mnist_fast.bench.runner.run_bench`.

    Args:
        archs: names of reference networks.
        batch_sizes: images a call, each size measured separately.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:INDEX"``.
        precision: ``"fp32"`` (on a GPU without TF32), or ``"bf16"`` for autocast to bfloat16.
        modes: keys of :data:`MODES`.
        passes: of :data:`PASSES`.
        layers: measure each convolution block too, not only whole networks.
        overhead: measure a tiny block too, whose time is all Python, dispatch and allocation.
        threads: numbers of threads of torch's CPU pool, each measured separately; none leaves torch's choice.
        budget: at most so many seconds of rounds for each comparison (all modes of one pass), its first warm-up
            not counted; less where more of it would change the ratios by no more than 1%.
        repeats: rounds of each comparison; takes the place of ``budget``.
        seed: of parameters, images and labels.
    """

    archs: tuple[str, ...] = tuple(RECIPES)
    batch_sizes: tuple[int, ...] = (64,)
    device: str = "auto"
    precision: str = "fp32"
    modes: tuple[str, ...] = DEFAULT_MODES
    passes: tuple[str, ...] = PASSES
    layers: bool = True
    overhead: bool = False
    threads: tuple[int, ...] = ()
    budget: float = 4.0
    repeats: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check("architecture", self.archs, RECIPES)
        _check("mode", self.modes, MODES)
        _check("pass", self.passes, PASSES)
        _check("precision", (self.precision,), PRECISIONS)
        for name, numbers in (
            ("batch size", self.batch_sizes),
            ("number of threads", self.threads),
            ("number of repeats", () if self.repeats is None else (self.repeats,)),
        ):
            for number in numbers:
                if number < 1:
                    raise UsageError(f"{name} {number} is too small; it must be at least 1")
        if re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device) is None:
            raise UsageError(f"unknown device {self.device!r}; choose from auto, cpu, cuda, cuda:INDEX")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed {self.seed} is out of range; it must be from 0 to 2**63 - 1")
        if not self.budget > 0:
            raise UsageError(f"a budget of {self.budget} seconds measures nothing; it must be above 0")


def _check(kind: str, names: Sequence[str], choices: Iterable[str]) -> None:
    if not names:
        raise UsageError(f"no {kind} to measure; choose from {', '.join(choices)}")
    for name in names:
        if name not in choices:
            raise UsageError(f"unknown {kind} {name!r}; choose from {', '.join(choices)}")
