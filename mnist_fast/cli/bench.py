"""``mnist-fast bench``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mnist_fast.bench.config import DEFAULT_MODES, MODES, PASSES, PRECISIONS, BenchConfig
from mnist_fast.recipes import RECIPES


def comma_list(item: Any) -> Callable[[str], tuple[Any, ...]]:
    """The type of an option that takes values of the Click type ``item``, separated by commas."""
    return lambda text: tuple(item.convert(part.strip(), None, None) for part in text.split(","))


@click.command("bench")
@click.option(
    "--arch",
    "archs",
    multiple=True,
    type=comma_list(click.Choice(list(RECIPES))),
    metavar="NAME,...",
    help=f"Networks: {', '.join(RECIPES)}. Repeatable.  [default: all]",
)
@click.option(
    "--batch-size",
    "batch_sizes",
    multiple=True,
    type=comma_list(click.IntRange(min=1)),
    metavar="N,...",
    help="Images a call. Repeatable.  [default: 64]",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where to run.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="bf16: autocast.")
@click.option(
    "--modes",
    multiple=True,
    type=comma_list(click.Choice(list(MODES))),
    metavar="NAME,...",
    help=f"Ways to run them: {', '.join(MODES)}.  [default: {','.join(DEFAULT_MODES)}]",
)
@click.option(
    "--passes",
    multiple=True,
    type=comma_list(click.Choice(list(PASSES))),
    metavar="NAME,...",
    help=f"What to time: {', '.join(PASSES)}; step is for whole networks.  [default: all]",
)
@click.option("--layers/--no-layers", default=True, show_default=True, help="Also each convolution block on its own.")
@click.option(
    "--overhead", is_flag=True, help="Also a block on one image of 4x4: what a call costs beside its arithmetic."
)
@click.option(
    "--threads",
    multiple=True,
    type=comma_list(click.IntRange(min=1)),
    metavar="N,...",
    help="CPU threads; all is measured with each number.  [default: torch's choice]",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Most timed seconds for all modes of one pass; fewer where more would change ratios by 1%.  [default: 4]",
)
@click.option("--repeats", type=click.IntRange(min=1), metavar="N", help="Rounds of a comparison instead of a budget.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Of parameters and images.  [default: 0]")
@click.option("--json", "as_json", is_flag=True, help="End standard output with one line of JSON.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE.json", help="Write the same JSON to a file.")
@click.option(
    "--report", "page", type=click.Path(path_type=Path), metavar="FILE.html", help="Write a page with charts."
)
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="FILE.json", help="Say what changed since that --output."
)
@click.option(
    "--input",
    "recorded",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Show that --output, time nothing.",
)
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(
    as_json: bool,
    output: Path | None,
    page: Path | None,
    against: Path | None,
    recorded: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Compare the fused blocks with stock PyTorch, side by side in one process.

    Every mode gets the same parameters and images, and is refused where its results differ from stock. Timed rounds
    alternate between the modes. The table shows medians, and how many times as fast the fused blocks are as the best
    stock mode, with how far away the same command may find that; the JSON adds percentiles, images a second and peak
    memory.

    \b
    mnist-fast bench --arch cnn --batch-size 64
    mnist-fast bench --arch cnn,lenet --modes eager,fused --passes step --no-layers --json
    mnist-fast bench --arch cnn --batch-size 1,16,256 --threads 1,2 --output now.json --against then.json
    """
    if options["budget"] is not None and options["repeats"] is not None:
        raise click.UsageError("--budget and --repeats exclude each other; give one of them.")
    for name in ("archs", "batch_sizes", "modes", "passes", "threads"):
        options[name] = tuple(dict.fromkeys(value for group in options[name] for value in group)) or None
    config = BenchConfig(**{name: value for name, value in options.items() if value is not None})

    from mnist_fast.bench.comparison import print_comparison
    from mnist_fast.bench.output import check_writable, write_json
    from mnist_fast.bench.recorded import read_report
    from mnist_fast.bench.runner import BenchReport, run_bench
    from mnist_fast.bench.table import print_report
    from mnist_fast.files import write_atomically

    def progress(line: str) -> None:
        if not quiet:  # plain lines on terminals too: a spinner's thread would run into the measurements
            click.echo(line, err=True)

    earlier = None if against is None else read_report(against, "bench")
    for path in filter(None, (output, page)):
        check_writable(path)
    report = run_bench(config, progress) if recorded is None else BenchReport.from_json(read_report(recorded, "bench"))
    if output is not None:
        write_json(output, report.to_json())
    if page is not None:
        from mnist_fast.bench.bench_page import bench_page  # brings matplotlib

        write_atomically(page, bench_page(report.to_json()))
    print_report(report)
    if earlier is not None:
        click.echo()
        print_comparison(earlier, report.to_json())
    if as_json:
        click.echo(json.dumps(report.to_json()))
