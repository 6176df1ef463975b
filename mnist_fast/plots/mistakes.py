"""What a network gets right and wrong: the confusion matrix, the scores of each class, and the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mnist_fast.plots.files import new_figure

_ROWS, _COLUMNS = 4, 6


def draw_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> Figure:
    """Counts for each true class (rows) and predicted class (columns), coloured by their share of the row."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(6.0, 0.55 * len(classes) + 1.5)
    figure = new_figure(side, side)
    axes = figure.subplots()
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)  # the root, or single mistakes would be white
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "white" if shares[row, column] > 0.3 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=ink, fontsize=9)
    long = max(map(len, classes)) > 2
    axes.set_xticks(range(len(classes)), classes, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    return figure


def draw_scores(per_class: dict[str, list[float]], macro: dict[str, float], classes: Sequence[str]) -> Figure:
    """Precision, recall and F1 of each class and their means, as a table whose cells are bars from the worst up."""
    columns = ("precision", "recall", "f1")
    values = np.array([per_class[name] for name in columns]).T
    rows = np.vstack([values, [macro[name] for name in columns]])
    names = [*classes, "mean"]
    low = min(0.9, np.floor(values.min() * 10) / 10)
    figure = new_figure(6.5, 0.34 * len(names) + 1)
    axes = figure.subplots()
    for (row, column), value in np.ndenumerate(rows):
        share = (value - low) / (1 - low)
        axes.add_patch(Rectangle((column, row - 0.4), 0.94 * share, 0.8, color="#bcd4ec"))
        axes.text(column + 0.05, row, f"{value:.4f}", va="center", weight="bold" if row == len(classes) else "normal")
    axes.axhline(len(classes) - 0.5, color="0.5", linewidth=1)
    axes.set(xlim=(0, 3), ylim=(len(names) - 0.5, -0.5), title=f"bars from {low:.1f} to 1")
    axes.set_xticks([0.45, 1.45, 2.45], ["precision", "recall", "F1"])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_mistakes(images: Tensor, labels: Tensor, probabilities: Tensor, classes: Sequence[str]) -> Figure | None:
    """The pictures that are told wrongly with the greatest confidence.

    Args:
        images: uint8 (N, 28, 28).
        labels: int64 (N,).
        probabilities: (N, classes) on the CPU.

    Returns:
        None: there are no mistakes.
    """
    confidence, predicted = probabilities.max(dim=1)
    wrong = (predicted != labels).nonzero().flatten()
    if not len(wrong):
        return None
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][: _ROWS * _COLUMNS]
    rows = -(-len(worst) // _COLUMNS)
    figure = new_figure(1.7 * _COLUMNS, 2.1 * rows + 0.5)
    figure.suptitle(f"the most confident of {len(wrong):,} mistakes")
    for axes in figure.subplots(rows, _COLUMNS, squeeze=False).flat:
        axes.set_axis_off()
    for axes, index in zip(figure.axes, worst.tolist(), strict=False):
        axes.imshow(images[index].numpy(), cmap="gray", vmin=0, vmax=255)
        found, truth = classes[int(predicted[index])], classes[int(labels[index])]
        axes.set_title(f"{found} ({confidence[index]:.1%}), not {truth}\nimage {index}", fontsize=8)
    return figure
