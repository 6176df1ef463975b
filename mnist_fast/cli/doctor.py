"""``mnist-fast doctor``: everything a bug report needs, and what to do about what is missing."""

from __future__ import annotations

import json

import click


@click.command("doctor", short_help="Report what was built and what this machine runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def command(as_json: bool) -> None:
    """Report what was built, what this machine runs, and what is missing. Fit to paste into a bug report."""
    from mnist_fast.diagnosis import diagnose, report

    facts = diagnose()
    click.echo(json.dumps(facts) if as_json else report(facts))
