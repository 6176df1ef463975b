"""``mnist-fast data``."""

from __future__ import annotations

from pathlib import Path

import click

from mnist_fast.data.names import DATASET_NAMES
from mnist_fast.data.paths import resolve_data_dir
from mnist_fast.errors import DataError

_NAMES = [name for name in DATASET_NAMES if name != "auto"]  # which names no data of its own
_names_argument = click.argument("names", nargs=-1, required=True, metavar="NAME...", type=click.Choice(_NAMES))
_data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A torchvision root, with MNIST in DIR/MNIST/raw.  [default: $MNIST_FAST_DATA, else in the user's cache]",
)
_EPILOG = f"Names: {', '.join(_NAMES)}."


@click.group("data")
def command() -> None:
    """Fetch, verify and locate the datasets."""


@command.command("fetch", short_help="Download what is not on disk, and check it.", epilog=_EPILOG)
@_names_argument
@_data_dir_option
@click.option("--offline", is_flag=True, help="Never touch the network: only check what is there.")
def fetch_command(names: tuple[str, ...], data_dir: Path | None, offline: bool) -> None:
    """Download the files of the datasets NAME that are not on disk yet, and check them all.

    Prints the path of each file. Every download is checked against the published digest, and replaces nothing. Exits
    with 3 where a dataset cannot be had or a file on disk is damaged.

    \b
    mnist-fast data fetch mnist
    mnist-fast data fetch fashion-mnist kmnist --data-dir ~/datasets
    """
    from mnist_fast.data import fetch

    for name in names:
        paths = fetch(name, data_dir, offline=offline, progress=lambda line: click.echo(line, err=True))
        for path in paths:
            click.echo(path)
        if not paths:
            click.echo(f"{name} comes with scikit-learn: nothing to fetch", err=True)


@command.command("verify", short_help="Check the files on disk.", epilog=_EPILOG)
@_names_argument
@_data_dir_option
def verify_command(names: tuple[str, ...], data_dir: Path | None) -> None:
    """Check the files of the datasets NAME, without the network.

    Prints a line for each file: ok, missing, damaged, or altered (whole, but not the published one; known for MNIST
    and USPS). Exits with 3 where a file is not ok.
    """
    from mnist_fast.data import verify

    checks = []
    for name in names:
        found = verify(name, data_dir)
        for check in found:
            click.echo(f"{check.status:<8} {check.detail}")
        if not found:
            click.echo(f"ok       {name} comes with scikit-learn")
        checks += found
    faults = sum(check.status != "ok" for check in checks)
    if faults:
        raise DataError(f"{faults} of {len(checks)} files are not ok; `mnist-fast data fetch` brings missing ones")


@command.command("path", short_help="Print the data directory.")
@_data_dir_option
def path_command(data_dir: Path | None) -> None:
    """Print the directory where datasets are looked for and downloaded to; it need not exist."""
    click.echo(resolve_data_dir(data_dir))
