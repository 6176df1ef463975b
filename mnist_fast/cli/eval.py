"""``mnist-fast eval``."""

from __future__ import annotations

import json
from typing import Any

import click

from mnist_fast.cli.options import COMPUTE, DATA, PRINT, options


@click.command("eval", short_help="Evaluate a checkpoint: accuracy, precision, recall, F1, confusion matrix.")
@click.argument("checkpoint")
@click.option("--plots", metavar="DIR", help="Also draw scores, confusion matrix, mistakes and curves, as PNG files.")
@options("arch", *DATA, "average_views", *COMPUTE, *PRINT)
def command(checkpoint: str, plots: str | None, as_json: bool, quiet: bool, **arguments: Any) -> None:
    """Evaluate CHECKPOINT on the test images: a file, or a run directory (its best.safetensors, else its last one).

    Without --dataset: on the data it was trained on. Views are averaged where the training did so. A plain state_dict
    needs --arch.
    """
    from mnist_fast.cli.tables import print_evaluation
    from mnist_fast.progress import Reporter
    from mnist_fast.sessions import run_evaluation

    given = {name: value for name, value in arguments.items() if value is not None}
    session = run_evaluation(checkpoint, reporter=Reporter(quiet=quiet), **given)
    summary = session.summary()
    if plots is not None:
        from mnist_fast.plots.reports import plot_evaluation

        summary["plots"] = list(map(str, plot_evaluation(session, plots)))
    if as_json:
        click.echo(json.dumps(summary))
    else:
        print_evaluation(summary, session.dataset.classes)
        for file in summary.get("plots", []):
            click.echo(file)
