"""docs/troubleshooting.md quotes messages that the code really has, and all that the installation can give."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from documents import ROOT, first_column

QUOTED = first_column(ROOT / "docs/troubleshooting.md", "message")
SETUP = ROOT / "setup.py"
SOURCES = [SETUP, ROOT / "tests/conftest.py", *sorted((ROOT / "mnist_fast").rglob("*.py"))]


def flattened(node: ast.AST) -> str | None:
    """A string of the source, with … where a value is put in; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


def strings(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [text for node in ast.walk(tree) if (text := flattened(node)) is not None]


@pytest.fixture(scope="module")
def messages() -> list[str]:
    return [text for path in SOURCES for text in strings(path)]


def pattern(quoted: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, quoted.split("…"))), re.DOTALL)


def test_there_are_quotations() -> None:
    assert len(QUOTED) > 20


@pytest.mark.parametrize("quoted", QUOTED)
def test_quoted_message_exists(quoted: str, messages: list[str]) -> None:
    assert any(pattern(quoted).search(text) for text in messages)


def test_every_reason_of_the_installation_is_explained() -> None:
    given = []
    for node in ast.walk(ast.parse(SETUP.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in ("BuildError", "sys.exit"):
            given.append(flattened(node.args[0]))
    assert len(given) > 5
    assert not [text for text in given if text is None or not any(pattern(quoted).search(text) for quoted in QUOTED)]
