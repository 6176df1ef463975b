"""Results that were written to a file: read back, and compared with others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_fast.bench.rows import Row
from mnist_fast.errors import UsageError

# What makes a row of one benchmark that of another.
KEYS = ("arch", "layer", "mode", "pass", "batch_size", "precision", "device", "threads")
_NUMBERS = ("median_ms", "ratio_vs_best_stock", "ratio_low", "ratio_high")


def read_report(path: Path, command: str) -> dict[str, Any]:
    """The JSON that ``mnist-fast COMMAND --output`` wrote; rows that had no intervals or threads yet get them.

    Raises:
        UsageError: the file cannot be read or is something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    expected = f"give a file that mnist-fast {command} --output wrote"
    if not isinstance(value, dict) or value.get("command") != command:
        raise UsageError(f"{path} holds no results of mnist-fast {command}; {expected}")
    try:
        for row in value["results"]:
            row.setdefault("threads", value["environment"]["threads"])
            for name in ("ratio_low", "ratio_high"):
                row.setdefault(name, None)
            for name in (*KEYS, *_NUMBERS):
                row[name]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is incomplete ({error}); {expected}") from None
    return value


@dataclass(frozen=True)
class Change:
    """A row in two benchmarks.

    Attributes:
        then: the row of the earlier one.
        now: of the later one.
        verdict: ``faster`` or ``slower`` than before against stock, where the two intervals of the ratio do not meet:
            by more than both together explain; ``same`` where they do; ``unknown`` without two intervals.
    """

    then: Row
    now: Row

    @property
    def verdict(self) -> str:
        if self.then["ratio_low"] is None or self.now["ratio_low"] is None:
            return "unknown"
        if self.now["ratio_low"] > self.then["ratio_high"]:
            return "faster"
        return "slower" if self.now["ratio_high"] < self.then["ratio_low"] else "same"

    @property
    def repeated(self) -> bool | None:
        """Whether the later ratio lies in the earlier interval; None without either."""
        low, high, ratio = self.then["ratio_low"], self.then["ratio_high"], self.now["ratio_vs_best_stock"]
        return None if low is None or ratio is None else bool(low <= ratio <= high)


def changes(then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[Change]:
    """The rows that two benchmarks share, in the order of ``now``."""
    before = {_key(row): dict(row) for row in then}
    return [Change(before[_key(row)], dict(row)) for row in now if _key(row) in before]


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in KEYS)
