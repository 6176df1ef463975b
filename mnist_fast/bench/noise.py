"""How sure the ratios of a comparison are, and whether other programs were in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_fast.bench.statistics import Samples, speedup

NARROW = 0.01  # measuring stops where every ratio is known to ±1%
WIDE = 0.05  # ratios that are not known to ±5% are pointed out
WAITED = 0.02  # so is a process that waited that share of the time for a processor

_SCHEDULER = Path("/proc/thread-self/schedstat")


def narrow(samples: Mapping[str, Samples], stock: Sequence[str]) -> bool:
    """Whether the ratio of every series to the fastest of ``stock`` is known to :data:`NARROW`.

    Without a stock series among several, they are compared with each other; a single one is never narrow.
    """
    references = list(stock) or list(samples)
    estimates = [
        speedup([samples[other] for other in references if other != name] or [own], own)
        for name, own in samples.items()
        if references != [name]
    ]
    errors = [estimate.relative_error for estimate in estimates]
    return bool(errors) and all(error is not None and error <= NARROW for error in errors)


def waited_seconds() -> float | None:
    """How long this thread has been ready to run while others had its processor; None where the system does not say.

    A virtual machine's own waiting for the host does not show here.
    """
    try:
        return int(_SCHEDULER.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def notes(environment: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader must know of the noise, a line each; none where all was quiet."""
    lines = []
    errors = [
        (row["ratio_high"] - row["ratio_low"]) / 2 / row["ratio_vs_best_stock"]
        for row in rows
        if row.get("ratio_low") is not None
    ]
    wide = sum(error > WIDE for error in errors)
    if wide:
        lines.append(
            f"{wide} of {len(errors)} ratios are not known to ±{WIDE:.0%} (the worst to ±{max(errors):.0%}): "
            "repeat on an idle machine, or measure longer"
        )
    waited = environment.get("waited_fraction")
    if waited is not None and waited > WAITED:
        lines.append(f"other programs had this process's processor for {waited:.0%} of the time: repeat when idle")
    elif environment["load_average"] > environment["cores"]:
        load = environment["load_average"]
        lines.append(f"other programs kept this machine busy (load average {load}): repeat when idle")
    return lines
