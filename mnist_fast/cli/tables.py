"""Results as tables on standard output. Imports rich, so only a running command imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_evaluation(summary: dict[str, Any], classes: Sequence[str]) -> None:
    """The summary of ``eval``: precision, recall and F1 of each class and their means, accuracy and loss."""
    table = Table("class", title=f"{summary['arch']} on the test images of {summary['dataset']}", title_justify="left")
    for column in ("precision", "recall", "F1", "images"):
        table.add_column(column, justify="right")
    scores = zip(*(summary["per_class"][name] for name in ("precision", "recall", "f1")), strict=True)
    counts = [sum(row) for row in summary["confusion_matrix"]]
    for name, values, count in zip(classes, scores, counts, strict=True):
        table.add_row(name, *(f"{value:.4f}" for value in values), f"{count:,}")
    table.add_section()
    macro = summary["macro"]
    table.add_row("mean", *(f"{macro[name]:.4f}" for name in ("precision", "recall", "f1")), f"{sum(counts):,}")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"test accuracy {summary['test_accuracy']:.2%}, loss {summary['test_loss']:.4f}")
