"""Loss and accuracy over the steps of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mnist_fast.plots.files import new_figure

# field of a record -> how its line is drawn
_LOSSES: dict[str, dict[str, Any]] = {
    "loss": {"label": "running, training", "color": "0.75", "linewidth": 1},
    "train_loss": {"label": "epoch's mean, training", "color": "tab:blue", "marker": "o"},
    "val_loss": {"label": "validation", "color": "tab:green", "marker": "o"},
    "test_loss": {"label": "test", "color": "tab:orange", "marker": "o"},
}
_ACCURACIES: dict[str, dict[str, Any]] = {
    "val_accuracy": {"label": "validation", "color": "tab:green", "marker": "o"},
    "test_accuracy": {"label": "test", "color": "tab:orange", "marker": "o"},
}


def draw_curves(records: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Loss and accuracy.

    Args:
        records: of a run's metrics, each with its ``step``.

    Returns:
        None: no record has anything to draw.
    """
    figure = new_figure(10, 4)
    drawn = 0
    for axes, title, lines in zip(figure.subplots(1, 2), ("loss", "accuracy"), (_LOSSES, _ACCURACIES), strict=True):
        for name, style in lines.items():
            points = [(record["step"], record[name]) for record in records if record.get(name) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), **style)
                drawn += 1
        axes.set(title=title, xlabel="step")
        axes.set_xlim(0, 1.02 * max((record["step"] for record in records), default=1))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    losses = [value for line in figure.axes[0].lines for value in np.asarray(line.get_ydata())]
    if losses and min(losses) > 0:
        figure.axes[0].set_yscale("log")
    accuracies = [value for line in figure.axes[1].lines for value in np.asarray(line.get_ydata())]
    if accuracies:
        figure.axes[1].set_ylim(max(0, min(accuracies) - 0.02), 1)
    figure.axes[1].yaxis.set_major_formatter(PercentFormatter(xmax=1))
    return figure if drawn else None
