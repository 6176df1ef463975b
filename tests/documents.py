"""README.md and docs/ as the tests see them: blocks to run, headings, links.

An HTML comment right before a block, which no reader of the page sees, says what is special about it:
``<!-- not run: REASON -->``, ``<!-- run by make test-long: REASON -->`` or ``<!-- needs PACKAGE, … -->``.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_MARK = re.compile(r"<!-- (not run|run by make test-long|needs):? (.+?) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: the word behind the fence.
        line: of the fence, from 1.
        mark: "", "not run", "run by make test-long" or "needs".
        reason: of the mark; with "needs" the packages.
    """

    language: str
    text: str
    line: int
    mark: str
    reason: str


def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    before: Token | None = None
    for token in tokens(page):
        if token.type == "fence":
            assert token.map is not None
            mark = _MARK.search(before.content) if before is not None and before.type == "html_block" else None
            found.append(
                Block(token.info, token.content, token.map[0] + 1, mark[1] if mark else "", mark[2] if mark else "")
            )
        before = token
    return found


def inline_code(page: Path) -> list[str]:
    """What stands between backquotes in the text."""
    return [child.content for token in tokens(page) for child in token.children or [] if child.type == "code_inline"]


def first_column(page: Path, heading: str) -> list[str]:
    """The code in the first column of the tables that begin with the given heading."""
    found: list[str] = []
    row: list[Token] = []
    current = ""
    for token in tokens(page):
        if token.type == "tr_open":
            row = []
        elif token.type == "inline":
            row.append(token)
        elif token.type == "thead_close":
            current = row[0].content
        elif token.type == "tr_close" and current == heading:
            found += [child.content for child in row[0].children or [] if child.type == "code_inline"]
    return found


def links(page: Path) -> list[str]:
    """Targets of links and pictures, also of those in HTML."""
    found = []
    for token in tokens(page):
        for child in token.children or []:
            if child.type in ("link_open", "image"):
                found.append(str(child.attrs["href" if child.type == "link_open" else "src"]))
        if token.type in ("html_block", "inline"):
            found += re.findall(r'(?:src|srcset|href)="([^"]+)"', token.content)
    return found


def anchors(page: Path) -> set[str]:
    """The fragments that GitHub gives to the headings of a page."""
    found = set()
    parsed = tokens(page)
    for heading, content in itertools.pairwise(parsed):
        if heading.type == "heading_open":
            text = "".join(child.content for child in content.children or [])
            found.add(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return found
