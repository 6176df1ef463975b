"""``mnist-fast predict``."""

from __future__ import annotations

import json
from typing import Any

import click

from mnist_fast.cli.options import COMPUTE, PRINT, options
from mnist_fast.errors import DataError


@click.command("predict", short_help="Tell the digits in your own pictures.")
@click.argument("checkpoint")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--top-k", type=click.IntRange(min=1), default=3, show_default=True, help="Classes to name a picture.")
@click.option(
    "--invert",
    type=click.Choice(["auto", "yes", "no"]),
    default="auto",
    show_default=True,
    help="Whether the digit is darker than its background; auto asks the picture's border.",
)
@click.option("--save-preprocessed", metavar="DIR", help="Save the 28x28 pictures that the network got.")
@options("arch", *COMPUTE, *PRINT)
def command(checkpoint: str, images: tuple[str, ...], as_json: bool, quiet: bool, **arguments: Any) -> None:
    """Tell the digit in each IMAGE, with probabilities: photographs, scans, drawings; a folder means its pictures.

    Each picture should show one digit. It may be of any size up to 16 megapixels, dark on light or light on dark,
    turned by EXIF, transparent, unevenly lit, off centre. Exits with 3 where one could not be read or shows no digit.

    \b
    mnist-fast predict runs/cnn seven.jpg
    mnist-fast predict runs/cnn scans/ --top-k 1 --save-preprocessed seen
    """
    from mnist_fast.prediction import run_prediction
    from mnist_fast.progress import Reporter

    given = {name: value for name, value in arguments.items() if value is not None}
    session = run_prediction(checkpoint, images, reporter=Reporter(quiet=quiet), **given)
    for error in session.refused.values():
        click.echo(f"mnist-fast: error: {error}", err=True)
    if as_json:
        click.echo(json.dumps(session.summary()))
    else:
        for prediction in session.predictions:
            pairs = zip(prediction.labels, prediction.probabilities, strict=True)
            click.echo(f"{prediction.image}: {', '.join(f'{label} {value:.1%}' for label, value in pairs)}")
    if session.refused:
        click.get_current_context().exit(DataError.exit_code)
