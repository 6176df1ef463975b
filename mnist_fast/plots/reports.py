"""The files that ``eval --plots`` and ``visualize`` write."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mnist_fast.checkpoint import Checkpoint, load_checkpoint
from mnist_fast.data import load_dataset
from mnist_fast.nn import ConvReLUMaxPool2d
from mnist_fast.ops.codes import unpack_codes
from mnist_fast.ops.coverage import why_not_covered
from mnist_fast.ops.geometry import Geometry, pair
from mnist_fast.pictures import prepare, read_picture
from mnist_fast.plots.curves import draw_curves
from mnist_fast.plots.files import make_directory, save_figure
from mnist_fast.plots.mistakes import draw_confusion, draw_mistakes, draw_scores
from mnist_fast.plots.network import draw_feature_maps, draw_filters, draw_picture, draw_winners
from mnist_fast.prediction import class_probabilities
from mnist_fast.progress import Reporter
from mnist_fast.runs.metrics import read_metrics
from mnist_fast.sessions import EvalSession


def plot_evaluation(session: EvalSession, output: str | Path) -> list[Path]:
    """Write ``confusion.png``, ``scores.png``, ``mistakes.png`` and, for a run, ``curves.png``.

    Returns:
        The files. There is no ``mistakes.png`` where there are none.
    """
    directory = make_directory(output)
    summary, data = session.summary(), session.dataset
    model = session.checkpoint.build(fused=session.backend == "fused").to(session.device)
    probabilities = class_probabilities(model, data.test_images, session.checkpoint.spec, session.precision)
    title = f"{summary['arch']} on the test images of {data.name}: {summary['test_accuracy']:.2%} right"
    figures = {
        "confusion.png": draw_confusion(summary["confusion_matrix"], data.classes, title),
        "scores.png": draw_scores(summary["per_class"], summary["macro"], data.classes),
        "mistakes.png": draw_mistakes(data.test_images, data.test_labels, probabilities, data.classes),
    }
    files = [save_figure(figure, directory / name) for name, figure in figures.items() if figure is not None]
    return files + _plot_curves(session.checkpoint, directory)


@torch.inference_mode()
def plot_network(
    checkpoint: str | Path,
    output: str | Path,
    *,
    image: str | Path | None = None,
    invert: str = "auto",
    arch: str | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    offline: bool = False,
    reporter: Reporter,
) -> list[Path]:
    """Write what a network has learned and what it does with one picture.

    For each convolution ``NAME``: ``NAME-filters.png``, ``NAME-maps.png`` and ``NAME-winners.png``, from the code that
    the kernels keep for backward; ``input.png``; for a run also ``curves.png``. On the CPU.

    Args:
        image: a picture file, prepared as for ``predict``; None: the first test image of the data.
        dataset, data_dir, offline: where that image comes from; None: the data that the network was trained on.

    Returns:
        The files. There are no winners where no kernel runs; the reporter is told.
    """
    loaded = load_checkpoint(checkpoint, arch=arch)
    directory = make_directory(output)
    if image is None:
        name = dataset or loaded.details.get("dataset", "auto")
        data = load_dataset(name, data_dir, offline=offline, progress=reporter.note)
        picture, title = data.test_images[0], f"test image 0 of {data.name}"
    else:
        picture, title = torch.from_numpy(prepare(read_picture(image), invert)), f"{Path(image).name}, prepared"
    files = [save_figure(draw_picture(picture, title), directory / "input.png")]
    values = ((picture[None, None] / 255) - loaded.spec.mean) / loaded.spec.std
    for name, layer in loaded.build().eval().named_children():  # which are called one after the other
        output_values = layer(values)
        if isinstance(layer, ConvReLUMaxPool2d):
            figures = {"filters": draw_filters(layer.weight, name), "maps": draw_feature_maps(output_values[0], name)}
            winners = winners_of(layer, values)
            if winners is None:
                reporter.note(f"no winners of {name}: no kernel runs here")
            else:
                rows, columns = pair(layer.pool_size)
                figures["winners"] = draw_winners(winners[0], (rows, columns), name)
            files += [save_figure(figure, directory / f"{name}-{kind}.png") for kind, figure in figures.items()]
        values = output_values
    return files + _plot_curves(loaded, directory)


def winners_of(block: ConvReLUMaxPool2d, input: Tensor) -> Tensor | None:
    """Positions (N, O, H, W) as the forward kernel notes them for backward; None where no kernel runs."""
    assert not isinstance(block.padding, str), "the reference networks give numbers"
    sizes = (block.stride, block.padding, block.pool_size, block.pool_stride)
    stride, padding, pool_size, pool_stride = (tuple(pair(size)) for size in sizes)
    geometry = Geometry(stride, padding, relu=block.relu, pool_size=pool_size, pool_stride=pool_stride)
    if why_not_covered(input, block.weight, block.bias, geometry) is not None:
        return None
    output, code = torch.ops.mnist_fast.conv_relu_maxpool2d_forward(
        input, block.weight, block.bias, stride, padding, block.relu, pool_size, pool_stride, False, True
    )
    return unpack_codes(code, output.shape)


def _plot_curves(checkpoint: Checkpoint, directory: Path) -> list[Path]:
    """``curves.png`` of the run that a checkpoint lies in; nothing where it is in none."""
    assert checkpoint.path is not None
    figure = draw_curves(read_metrics(checkpoint.path.parent))
    return [] if figure is None else [save_figure(figure, directory / "curves.png")]
