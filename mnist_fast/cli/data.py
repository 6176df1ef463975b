"""``mnist-fast data``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mnist_fast.data.names import DATASET_NAMES, FOLDER_PREFIX, is_dataset_name
from mnist_fast.data.paths import resolve_data_dir
from mnist_fast.errors import DataError

_NAMES = [name for name in DATASET_NAMES if name != "auto"]  # which names no data of its own
_data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A torchvision root, with MNIST in DIR/MNIST/raw.  [default: $MNIST_FAST_DATA, else in the user's cache]",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
_EPILOG = f"Names: {', '.join(_NAMES)}."


def _checked_names(_context: click.Context, _argument: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name == "auto" or not is_dataset_name(name):
            raise click.BadParameter(f"{name!r} is not one of {', '.join(map(repr, _NAMES))}, 'folder:DIR'.")
    return names


@click.group("data")
def command() -> None:
    """Fetch, verify and locate the datasets."""


@command.command("fetch", short_help="Download what is not on disk, and check it.", epilog=_EPILOG)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=click.Choice(_NAMES))
@_data_dir_option
@click.option("--offline", is_flag=True, help="Never touch the network: only check what is there.")
@_json_option
def fetch_command(names: tuple[str, ...], data_dir: Path | None, offline: bool, as_json: bool) -> None:
    """Download the files of the datasets NAME that are not on disk yet, and check them all.

    Prints the path of each file. Every download is checked against the published digest, and replaces nothing. Exits
    with 3 where a dataset cannot be had or a file on disk is damaged.

    \b
    mnist-fast data fetch mnist
    mnist-fast data fetch fashion-mnist kmnist --data-dir ~/datasets
    """
    from mnist_fast.data import fetch

    files = {}
    for name in names:
        paths = fetch(name, data_dir, offline=offline, progress=lambda line: click.echo(line, err=True))
        files[name] = [str(path) for path in paths]
        if not as_json:
            click.echo("".join(f"{path}\n" for path in paths), nl=False)
        if not paths:
            click.echo(f"{name} comes with scikit-learn: nothing to fetch", err=True)
    if as_json:
        _print_json("fetch", data_dir, files=files)


@command.command("verify", short_help="Check the files on disk.", epilog=f"{_EPILOG[:-1]}, {FOLDER_PREFIX}DIR.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", callback=_checked_names)
@_data_dir_option
@_json_option
def verify_command(names: tuple[str, ...], data_dir: Path | None, as_json: bool) -> None:
    """Check the files of the datasets NAME, without the network.

    Prints a line for each file: ok, missing, damaged, or altered (whole, but not the published one; known for MNIST
    and USPS). Exits with 3 where a file is not ok.

    \b
    mnist-fast data verify mnist folder:my-pictures
    """
    from mnist_fast.data import verify

    records = []
    for name in names:
        checks = verify(name, data_dir)
        records += [
            {"dataset": name, "path": str(check.path), "status": check.status, "detail": check.detail}
            for check in checks
        ]
        if as_json:
            continue
        for check in checks:
            click.echo(f"{check.status:<8} {check.detail}")
        if not checks:
            click.echo(f"ok       {name} comes with scikit-learn")
    statuses = [record["status"] for record in records]
    faults = len(statuses) - statuses.count("ok")
    if as_json:
        _print_json("verify", data_dir, ok=not faults, files=records)
    if faults:
        remedy = "; `mnist-fast data fetch` brings missing ones" if "missing" in statuses else ""
        raise DataError(f"{faults} of {len(records)} files are not ok{remedy}")


@command.command("path", short_help="Print the data directory.")
@_data_dir_option
@_json_option
def path_command(data_dir: Path | None, as_json: bool) -> None:
    """Print the directory where datasets are looked for and downloaded to; it need not exist."""
    if as_json:
        _print_json("path", data_dir)
    else:
        click.echo(resolve_data_dir(data_dir))


def _print_json(subcommand: str, data_dir: Path | None, **values: Any) -> None:
    record = {"command": f"data {subcommand}", "data_dir": str(resolve_data_dir(data_dir)), **values}
    click.echo(json.dumps(record))
