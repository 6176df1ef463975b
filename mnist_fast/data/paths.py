"""Where datasets lie."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def default_data_dir() -> Path:
    """``$MNIST_FAST_DATA`` where it is set, else a folder in the user's cache directory; it need not exist."""
    chosen = os.environ.get("MNIST_FAST_DATA")
    return Path(chosen).expanduser() if chosen else user_cache_path("mnist-fast") / "data"


def resolve_data_dir(data_dir: str | Path | None) -> Path:
    """``data_dir`` as an absolute path with ``~`` expanded, or the default for None."""
    return (default_data_dir() if data_dir is None else Path(data_dir).expanduser()).absolute()
