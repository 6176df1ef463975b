"""``mnist-fast speedrun``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mnist_fast.bench.contest import DEFAULT_ENTRANTS, ENTRANTS, OURS, SpeedrunConfig
from mnist_fast.cli.bench import comma_list
from mnist_fast.cli.options import PRINT, options
from mnist_fast.config import PRECISIONS
from mnist_fast.recipes import LADDER, RECIPES


@click.command("speedrun")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Runs of each mode.  [default: 10]")
@click.option(
    "--seed",
    "first_seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    help="Seed of the first run; the others count on from it.  [default: 0]",
)
@click.option(
    "--modes",
    type=comma_list(click.Choice(list(ENTRANTS))),
    metavar="NAME,...",
    help=f"Who runs: {', '.join(ENTRANTS)}.  [default: {','.join(DEFAULT_ENTRANTS)}]",
)
@click.option("--arch", type=click.Choice(list(RECIPES)), help=f"Our network, by its own recipe.  [default: {OURS}]")
@click.option("--recipe", type=click.Choice(list(LADDER)), help="Our network and recipe, from the ladder.")
@options("dataset", "data_dir", "offline")
@click.option("--device", metavar="auto|cpu|cuda[:i]", help="Where to run.  [default: auto]")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Of every mode.  [default: fp32]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: torch's choice]")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE.json", help="Write the JSON to a file, too.")
@click.option(
    "--report", "page", type=click.Path(path_type=Path), metavar="FILE.html", help="Write a page with charts."
)
@options(*PRINT)
def command(
    dataset: str | None,
    data_dir: str | None,
    offline: bool | None,
    output: Path | None,
    page: Path | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Race to 99% on MNIST: the published recipe with stock PyTorch against ours, both timed from end to end.

    \b
    eager, channels_last  the published network and recipe, stock PyTorch, in either memory format
    fused                 our network and recipe (--arch or --recipe) with fused blocks
    fused_anchor          the published network and recipe with fused blocks
    stock_ours            our network and recipe, stock PyTorch in channels_last

    The modes take turns, seed by seed. A run counts from the initialisation of the network to the last prediction on
    the test images; only imports, reading the files, and a warm-up of the process come before it.

    \b
    mnist-fast speedrun --seeds 30
    """
    given = {name: value for name, value in settings.items() if value is not None}
    config = SpeedrunConfig(**given)

    from mnist_fast.bench.output import check_writable, write_json
    from mnist_fast.bench.speedrun import run_speedrun
    from mnist_fast.bench.speedrun_table import print_speedrun
    from mnist_fast.data import load_dataset
    from mnist_fast.files import write_atomically

    def progress(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    for path in filter(None, (output, page)):
        check_writable(path)
    data = load_dataset(dataset or "auto", data_dir, offline=bool(offline), progress=progress)
    progress(data.source)
    report = run_speedrun(config, data, progress)
    if output is not None:
        write_json(output, report.to_json())
    if page is not None:
        from mnist_fast.bench.speedrun_page import speedrun_page  # brings matplotlib

        write_atomically(page, speedrun_page(report.to_json()))
    print_speedrun(report)
    if as_json:
        click.echo(json.dumps(report.to_json()))
