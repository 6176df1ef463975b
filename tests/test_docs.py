"""Every command and every Python block of README.md and docs/ runs; every link leads somewhere; every option exists.

A page's blocks run in order, in an empty directory with the pictures that a reader would bring. ``make test-long`` runs
them as they stand, on MNIST. The default run shortens them, by the rule of ``SHORTER`` alone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import matplotlib.pyplot as plt
import numpy as np
import pytest
from click.testing import CliRunner
from documents import PAGES, ROOT, Block, anchors, blocks, inline_code, links
from drawn_digits import LOOKS, drawn

from mnist_fast.cli import main
from mnist_fast.ops import library

LANGUAGES = {"sh", "python", "text", "math"}  # the first two are run; text is what the Python before it prints

# The default run works on scikit-learn's digits instead of MNIST, and adds these to each command's options.
SHORTER = {
    "train": ["--offline", "--epochs", "1", "--images-per-epoch", "256"],
    "finetune": ["--offline", "--epochs", "1", "--images-per-epoch", "256"],
    "eval": ["--offline"],
    "visualize": ["--offline"],
    "bench": ["--repeats", "1"],
    "speedrun": ["--offline", "--seeds", "1"],
}

# All that no test runs: page and first line. Each has its reason before it in the page.
NOT_RUN = {
    ("README.md", "pip install ."),
    ("README.md", 'pip install ".[test]" && pytest'),
    ("quickstart.md", "python -m venv .venv && source .venv/bin/activate"),
    ("quickstart.zh.md", "python -m venv .venv && source .venv/bin/activate"),
    ("pictures.md", "mnist-fast demo runs/speedrun"),
}

# Of click, torchrun, bench/recipes.py, bench/native and pip.
OTHER_OPTIONS = {"--help", "--nproc-per-node", "--seeds", "--blocks", "--upgrade", "--force-reinstall", "--no-deps"}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader brings along: a photograph, a folder of scans, a folder for each class."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    drawn(7, 0, LOOKS["clean"], random).save(root / "seven.jpg")
    for number in range(12):
        digit = number % 2
        for folder in ("scans", f"my-pictures/{('noughts', 'ones')[digit]}"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            drawn(digit, number % 3, LOOKS["clean"], random).save(root / folder / f"{number}.png")
    return root


@pytest.fixture
def reader(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's directory, empty but for the pictures, and the environment's programs."""
    shutil.copytree(pictures, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(plt, "show", lambda: None)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_everything_in_it_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_FAST_DATA", str(tmp_path / "no data"))
    run_page(page, short=True)


@pytest.mark.long
@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_everything_in_it_runs_as_it_stands(page: Path, mnist_root: Path) -> None:
    run_page(page, short=False)


def run_page(page: Path, *, short: bool) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        place = f"{page.relative_to(ROOT)}:{block.line}"
        if block.mark == "not run" or (block.mark == "run by make test-long" and short):
            continue
        if block.mark == "needs":
            for package in block.reason.split(", "):
                pytest.importorskip(package, reason=f"{place} needs the package {package}")
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(block.text, place, "exec"), names)
            printed = output.getvalue()
        elif block.language == "text" and library.missing is None and library.backend != "stock":
            assert printed == block.text, place
        elif block.language == "sh":
            for command in commands(block):
                (run_shorter if short else run_in_shell)(command, place)
    plt.close("all")


def commands(block: Block) -> list[str]:
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run_in_shell(command: str, place: str) -> None:
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{place}: {command}\n{done.stdout}{done.stderr}"


def run_shorter(command: str, place: str) -> None:
    words = shlex.split(command, comments=True)
    if words[0] != "mnist-fast":
        run_in_shell(command, place)
        return
    arguments = ["digits" if word == "mnist" else word for word in words[1:]]
    result = CliRunner().invoke(main, [*arguments, *SHORTER.get(arguments[0], [])])
    assert result.exit_code == 0, f"{place}: {command}\n{result.output}\n{result.exception!r}"


def test_what_is_not_run_is_listed_here() -> None:
    marked = {
        (page.name, block.text.splitlines()[0]) for page in PAGES for block in blocks(page) if block.mark == "not run"
    }
    assert marked == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_its_language(page: Path) -> None:
    assert not [f"line {block.line}: {block.language!r}" for block in blocks(page) if block.language not in LANGUAGES]


@pytest.mark.parametrize(
    "page",
    [*PAGES, *ROOT.glob("*/README.md"), ROOT / "CONTRIBUTING.md"],
    ids=lambda page: f"{page.parent.name}-{page.name}",
)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in links(page):
        file, _, fragment = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if link.startswith("https://"):  # a test needs no network
            continue
        if not target.exists() or (fragment and fragment not in anchors(target)):
            dead.append(link)
    assert not dead


def test_every_page_is_linked_from_the_readme() -> None:
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= set(links(PAGES[0]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_the_text_exist(page: Path) -> None:
    known = OTHER_OPTIONS | set(_options(main))
    named = {option for code in inline_code(page) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert not sorted(named - known)


def _options(command: click.Command) -> list[str]:
    found = [name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += _options(child)
    return found


def test_the_drawing_is_what_its_script_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/figures"))
    drawing = importlib.import_module("draw")
    stale = [path.name for path, text in drawing.files().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run `python docs/figures/draw.py`"
