"""The files that ``eval --plots`` and ``visualize`` write."""

from __future__ import annotations

from pathlib import Path

import torch

from mnist_fast.checkpoint import Checkpoint, load_checkpoint
from mnist_fast.data import load_dataset
from mnist_fast.inspection import look_inside
from mnist_fast.ops.geometry import pair
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
    for view in look_inside(loaded.build().eval(), picture, loaded.spec):
        figures = {
            "filters": draw_filters(view.block.weight, view.name),
            "maps": draw_feature_maps(view.maps, view.name),
        }
        if view.winners is None:
            reporter.note(f"no winners of {view.name}: no kernel runs here")
        else:
            rows, columns = pair(view.block.pool_size)
            figures["winners"] = draw_winners(view.winners, (rows, columns), view.name)
        files += [save_figure(figure, directory / f"{view.name}-{kind}.png") for kind, figure in figures.items()]
    return files + _plot_curves(loaded, directory)


def _plot_curves(checkpoint: Checkpoint, directory: Path) -> list[Path]:
    """``curves.png`` of the run that a checkpoint lies in; nothing where it is in none."""
    assert checkpoint.path is not None
    figure = draw_curves(read_metrics(checkpoint.path.parent))
    return [] if figure is None else [save_figure(figure, directory / "curves.png")]
