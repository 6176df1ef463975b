"""PEP 517 backend: setuptools, plus torch as a build requirement only where the target environment has none.

With torch in ``[build-system] requires`` pip would download gigabytes to build against a torch that is not the user's;
without it an empty environment could not build at all.
"""

from __future__ import annotations

from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401  (the hooks that need no change)
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from target_torch import OLDEST_TORCH, target_torch


def _torch_requirement() -> list[str]:
    return [] if target_torch() else [f"torch>={'.'.join(map(str, OLDEST_TORCH))}"]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_torch_requirement()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *_torch_requirement()]
