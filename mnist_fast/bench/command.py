"""The command that repeats a benchmark, for its record."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

# Fields of settings whose option has another name.
_OPTIONS = {"archs": "arch", "batch_sizes": "batch-size", "first_seed": "seed"}


def command_line(command: str, settings: Any, **more: str) -> str:
    """``mnist-fast COMMAND`` with an option for each field of the dataclass ``settings`` that is not at its default.

    Args:
        more: further options, by name.
    """
    parts = ["mnist-fast", command]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        name = _OPTIONS.get(field.name, field.name).replace("_", "-")
        if value == field.default:
            continue
        if isinstance(value, bool):
            parts.append(f"--{name}" if value else f"--no-{name}")
        else:
            parts += [f"--{name}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    for name, text in more.items():
        parts += [f"--{name}", text]
    return shlex.join(parts)
