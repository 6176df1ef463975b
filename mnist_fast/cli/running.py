"""What ``train`` and ``finetune`` share: config, run, print. Imports torch, so only a running command imports it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mnist_fast import sessions
from mnist_fast.progress import Reporter


def run_command(
    name: str,
    *,
    output: str | None,
    resume: bool,
    config_file: Path | None,
    print_config: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Run the command ``name`` with the options of :class:`mnist_fast.config.Config`."""
    if resume and output is None:
        raise click.UsageError("--resume needs --output, the directory of the run.")
    config = sessions.resolve_config(options, config_file=config_file, output=output, resume=resume)
    if print_config:
        click.echo(config.to_toml(), nl=False)
        return
    reporter = Reporter(quiet=quiet)
    if dry_run:
        click.echo(sessions.dry_run(config, output=output, resume=resume, reporter=reporter))
        return
    session = sessions.run_training(config, output=output, resume=resume, reporter=reporter)
    if session.run is None:  # one of several processes, and not the one that reports
        return
    summary = session.summary(name)
    click.echo(json.dumps(summary) if as_json else text(summary))
    session.check_target()


def text(summary: dict[str, Any]) -> str:
    """A summary for people."""
    macro = summary["macro"]
    return (
        f"test accuracy {summary['test_accuracy']:.2%}, loss {summary['test_loss']:.4f}; mean over the classes: "
        f"precision {macro['precision']:.2%}, recall {macro['recall']:.2%}, F1 {macro['f1']:.2%}\n"
        f"{summary['train_seconds']:.2f} s of training steps, {summary['images_per_second']:,.0f} images/s "
        "(without loading, tests and saving)\n"
        f"checkpoint: {summary['checkpoint']}"
    )
