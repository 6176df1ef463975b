"""Who runs in ``mnist-fast speedrun``, and its settings. Imports no torch: the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_fast.config import PRECISIONS
from mnist_fast.errors import UsageError
from mnist_fast.recipes import LADDER, RECIPES

ANCHOR = "anchor"  # the published network and its recipe
OURS = "speedrun"


@dataclass(frozen=True)
class Entrant:
    """One way to reach the accuracy: whose network and recipe, whose operators, and how tensors lie in memory.

    Args:
        name: of the mode.
        ours: our network with our recipe; else the published ones.
        fused: with fused blocks; else ``torch.nn`` modules alone.
        channels_last: images, weights and activations in that memory format. Fused blocks take it in any case.
    """

    name: str
    ours: bool = False
    fused: bool = False
    channels_last: bool = True


ENTRANTS = {
    entrant.name: entrant
    for entrant in (
        Entrant("eager", channels_last=False),
        Entrant("channels_last"),
        Entrant("fused", ours=True, fused=True),
        Entrant("fused_anchor", fused=True),
        Entrant("stock_ours", ours=True),
    )
}
DEFAULT_ENTRANTS = ("eager", "channels_last", "fused")


@dataclass(frozen=True)
class SpeedrunConfig:
    """Settings of :func:`mnist_fast.bench.speedrun.run_speedrun`.

    Args:
        seeds: runs of each mode.
        first_seed: the runs have the seeds from this one on.
        modes: keys of :data:`ENTRANTS`.
        arch: our network, trained by its own recipe; None: that of ``recipe``, else :data:`OURS`.
        recipe: how ours is trained, a name in :data:`mnist_fast.recipes.LADDER`; None: by the recipe of ``arch``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:INDEX"``.
        precision: ``"fp32"``, or autocast to ``"bf16"`` or ``"fp16"``, of every mode.
        threads: of torch's CPU pool; ``None`` leaves torch's choice.
    """

    seeds: int = 10
    first_seed: int = 0
    modes: tuple[str, ...] = DEFAULT_ENTRANTS
    arch: str | None = None
    recipe: str | None = None
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("mode", self.modes, ENTRANTS),
            ("architecture", () if self.arch is None else (self.arch,), RECIPES),
            ("recipe", () if self.recipe is None else (self.recipe,), LADDER),
            ("precision", (self.precision,), PRECISIONS),
        ):
            for wrong in (choice for choice in value if choice not in choices):
                raise UsageError(f"unknown {name} {wrong!r}; choose from {', '.join(choices)}")
        if self.arch is not None and self.recipe is not None:
            raise UsageError(f"the recipe {self.recipe} has its own network; leave arch or recipe out")
        if not self.modes:
            raise UsageError(f"no mode to run; choose from {', '.join(ENTRANTS)}")
        for name, number in (("number of seeds", self.seeds), ("number of threads", self.threads)):
            if number is not None and number < 1:
                raise UsageError(f"{name} {number} is too small; it must be at least 1")
        if not 0 <= self.first_seed <= 2**63 - self.seeds:
            raise UsageError(f"seed {self.first_seed} is out of range; it must be from 0 to 2**63 - {self.seeds}")
