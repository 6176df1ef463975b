"""Accuracy and time of a recipe of the ladder, over seeds: ``python bench/recipes.py balanced --seeds 8``."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import click
import torch

from mnist_fast.bench.environment import environment
from mnist_fast.config import BACKENDS, Config, make_config
from mnist_fast.data import Dataset, load_dataset
from mnist_fast.devices import resolve_device, synchronize
from mnist_fast.recipes import LADDER
from mnist_fast.training import train


def measure(config: Config, dataset: Dataset) -> dict[str, float]:
    """One run, in seconds from the initialisation of the network to the last prediction on the test images."""
    start = time.perf_counter()
    result = train(config, dataset)
    synchronize(resolve_device(config.device))
    seconds = time.perf_counter() - start
    return {"seed": config.seed, "accuracy": result.evaluation.accuracy, "seconds": seconds}


@click.command()
@click.argument("recipe", type=click.Choice(list(LADDER)))
@click.option("--seeds", type=click.IntRange(min=2), default=8, show_default=True, help="Runs.")
@click.option("--first-seed", type=click.IntRange(min=0), default=0, show_default=True, help="The others count on.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: torch's choice]")
@click.option("--device", default="auto", show_default=True, help="Where to train.")
@click.option("--backend", type=click.Choice(BACKENDS), default="fused", show_default=True)
@click.option("--data-dir", help="torchvision root of MNIST.  [default: $MNIST_FAST_DATA, else a cache]")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE.json", help="Write all runs to a file, too.")
def main(
    recipe: str,
    seeds: int,
    first_seed: int,
    threads: int | None,
    device: str,
    backend: str,
    data_dir: str | None,
    output: Path | None,
) -> None:
    """Train RECIPE on MNIST with one seed after the other; print accuracy and time of each, mean and deviation.

    A short run warms the process up first. Reading the files is not in the time; the test after each epoch is.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    dataset = load_dataset("mnist", data_dir)
    options = {"recipe": recipe, "device": device, "backend": backend}
    train(make_config({**options, "epochs": 1, "images_per_epoch": 2048}), dataset)
    runs = []
    for seed in range(first_seed, first_seed + seeds):
        runs.append(measure(make_config({**options, "seed": seed}), dataset))
        click.echo(f"seed {seed}: {runs[-1]['accuracy']:.2%} in {runs[-1]['seconds']:.2f} s", err=True)
    accuracies, times = ([run[key] for run in runs] for key in ("accuracy", "seconds"))
    click.echo(
        f"{recipe} ({backend}, {torch.get_num_threads()} threads): {statistics.mean(accuracies):.3%} ± "
        f"{statistics.stdev(accuracies):.3%} over {seeds} seeds (from {min(accuracies):.2%} to {max(accuracies):.2%}), "
        f"median {statistics.median(times):.2f} s (from {min(times):.2f} to {max(times):.2f})"
    )
    if output is not None:
        content = {
            "recipe": recipe,
            "backend": backend,
            "environment": environment(resolve_device(device)),
            "runs": runs,
        }
        output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
