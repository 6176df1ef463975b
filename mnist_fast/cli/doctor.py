"""``mnist-fast doctor``: everything a bug report needs, and what to do about what is missing."""

from __future__ import annotations

import json

import click

from mnist_fast.errors import MnistFastError


@click.command("doctor", short_help="Report what was built and what this machine runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def command(as_json: bool) -> None:
    """Report what was built, what this machine runs, and what is missing. Fit to paste into a bug report.

    The home directory is written ~ in it.
    """
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:  # of libraries that are missing
        reason = " ".join(str(error).split())
        raise MnistFastError(f"torch cannot be imported ({reason}); install it anew, then mnist-fast") from None
    from mnist_fast.diagnosis import diagnose, report

    facts = diagnose()
    click.echo(json.dumps({"command": "doctor"} | facts) if as_json else report(facts))
