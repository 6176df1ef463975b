"""The inside of a network: its filters, what they make of a picture, and the winners of the pooling windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from mnist_fast.ops.codes import DEAD
from mnist_fast.plots.files import new_figure

_MOST_MAPS = 64  # of more the first are shown
_MOST_FILTERS, _MOST_CHANNELS = 16, 32  # of filters that have a row each


def draw_filters(weight: Tensor, name: str) -> Figure:
    """The filters of a convolution: with one channel side by side, else a row for each.

    Args:
        weight: (O, C, kh, kw). Blue is negative, red positive, on one scale for all.
    """
    most = _MOST_MAPS if weight.shape[1] == 1 else _MOST_FILTERS
    filters = weight.detach().cpu().float()[:most, :_MOST_CHANNELS]
    count, channels = filters.shape[:2]
    largest = max(float(filters.abs().max()), 1e-12)
    title = f"{name}: {_of(count, len(weight))} filters"
    if channels > 1:
        title += f" (rows), {_of(channels, weight.shape[1])} input channels (columns)"
    columns = channels if channels > 1 else min(8, count)
    figure = _mosaic(filters.flatten(0, 1), columns, title, cmap="RdBu_r", vmin=-largest, vmax=largest)
    figure.colorbar(figure.axes[0].images[0], ax=figure.axes, shrink=0.5)
    return figure


def draw_picture(image: Tensor, title: str) -> Figure:
    """The picture that the others are about, (28, 28)."""
    return _mosaic(image[None], 1, title, cmap="gray", vmin=0, vmax=255)


def draw_feature_maps(values: Tensor, name: str) -> Figure:
    """The channels (O, H, W) that a layer makes of one picture, from the least value in black to the most in white."""
    maps = values.detach().cpu().float()[:_MOST_MAPS]
    title = f"{name}: {_of(len(maps), len(values))} feature maps, {maps.shape[1]}x{maps.shape[2]}"
    figure = _mosaic(maps, 8, title, cmap="gray", vmin=float(maps.min()), vmax=float(maps.max()))
    figure.colorbar(figure.axes[0].images[0], ax=figure.axes, shrink=0.5)
    return figure


def draw_winners(winners: Tensor, pool_size: tuple[int, int], name: str) -> Figure:
    """Which position of its pooling window each value comes from: where backward sends its gradient, and nowhere else.

    Args:
        winners: (O, H, W) integers: positions counted by rows, or DEAD where ReLU lets nothing through.
        pool_size: rows and columns of the window.
    """
    positions = pool_size[0] * pool_size[1]
    maps = winners.where(winners != DEAD, -1)[:_MOST_MAPS]
    if positions <= 8:
        chosen = [colormaps["Set2"](index) for index in range(positions)]
    else:
        chosen = list(colormaps["viridis"](np.linspace(0.15, 1, positions)))
    norm = BoundaryNorm(np.arange(-1.5, positions + 0.5), positions + 1)
    places = [f"row {index // pool_size[1]}, column {index % pool_size[1]}" for index in range(positions)]
    title = f"{name}: the position in its {pool_size[0]}x{pool_size[1]} window that won"
    if positions == 1:
        places, title = ["passes"], f"{name}: what ReLU lets through"
    figure = _mosaic(maps, 8, title, cmap=ListedColormap([(0, 0, 0, 1), *chosen]), norm=norm)
    bar = figure.colorbar(figure.axes[0].images[0], ax=figure.axes, shrink=0.5, ticks=range(-1, positions))
    bar.ax.set_yticklabels(["none: ReLU gives 0", *places])
    return figure


def _of(shown: int, total: int) -> str:
    return f"{total}" if shown == total else f"the first {shown} of {total}"


def _mosaic(tiles: Tensor, columns: int, title: str, **style: Any) -> Figure:
    """Pictures (N, H, W) in rows of ``columns``, as one image with white lines between them."""
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    scale = max(1, 12 // max(tiles.shape[1:]))  # or a line would be as thick as the pixels of a 3x3 filter
    pictures = tiles.repeat_interleave(scale, 1).repeat_interleave(scale, 2).double().numpy()
    height, width = pictures.shape[1] + 1, pictures.shape[2] + 1
    canvas = np.full((rows * height - 1, columns * width - 1), np.nan)
    for index, picture in enumerate(pictures):
        top, left = index // columns * height, index % columns * width
        canvas[top : top + height - 1, left : left + width - 1] = picture
    across = min(10.0, max(5.0, columns * 1.1))
    figure = new_figure(across, min(20.0, max(2.5, across * 0.85 * canvas.shape[0] / canvas.shape[1] + 0.6)))
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots()
    axes.imshow(canvas, interpolation="nearest", **style)
    axes.set_axis_off()
    return figure
