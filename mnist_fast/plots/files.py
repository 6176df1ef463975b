"""Figures into PNG files. They are drawn without a window, whatever the user's matplotlib is set up for."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mnist_fast.files import OutputError, write_atomically

_DOTS_PER_INCH = 120


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, whose parts find their own places."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def make_directory(path: str | Path) -> Path:
    """The directory for figures, created where it is missing. Raises OutputError: it cannot be."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the directory {path}: {error.strerror}") from None
    return path


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG. Raises OutputError: it cannot be written."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH, facecolor="white")
    write_atomically(path, content.getvalue())
    return path
