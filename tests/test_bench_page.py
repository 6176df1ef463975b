"""The pages of bench and speedrun: whole, self-contained, with every number, whatever was measured."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rows import RESULTS, report, row
from click.testing import CliRunner

from mnist_fast.bench import runner
from mnist_fast.bench.bench_page import bench_page
from mnist_fast.bench.command import command_line
from mnist_fast.bench.config import BenchConfig
from mnist_fast.bench.contest import SpeedrunConfig
from mnist_fast.bench.environment import environment
from mnist_fast.bench.recorded import read_report
from mnist_fast.bench.speedrun import Run, SpeedrunReport
from mnist_fast.bench.speedrun_page import speedrun_page
from mnist_fast.cli import main

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps text, tags and attributes."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(content.decode())
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def addresses(self) -> list[str]:
        """What a browser would fetch: every address but names of XML's vocabularies and parts of the page itself."""
        names = {"src", "href", "xlink:href", "data", "action", "poster", "srcset"}
        return [value or "" for name, value in self.attributes if name in names and not (value or "").startswith("#")]


def everything() -> dict[str, Any]:
    """Rows of all that can be measured: networks, blocks, overhead; several batch sizes and numbers of threads."""
    rows = []
    for threads in (1, 2):
        for arch, layers, sizes in (("overhead", ("conv",), (1,)), ("cnn", ("conv1", "network"), (1, 16, 256))):
            for size in sizes:
                for layer in layers:
                    for pass_ in ("forward", "step") if layer == "network" else ("forward",):
                        common = {"arch": arch, "layer": layer, "batch_size": size, "threads": threads, "pass": pass_}
                        rows.append(row(1.0, 0.0, mode="eager", median_ms=0.5, **common))
                        rows.append(row(2.5, 0.1, mode="fused", median_ms=0.2, **common))
    return report(*rows)


def self_contained(content: bytes) -> Page:
    page = Page(content)
    assert page.addresses() == []
    text = content.decode()
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert {"script", "iframe", "link", "object", "metadata"}.isdisjoint(page.tags)
    return page


def test_a_bench_page_shows_all_that_was_measured() -> None:
    content = everything()
    content["unavailable"] = {"compile": "no <compiler> & no hope"}
    content["reproduce"] = "mnist-fast bench --arch cnn"
    page = self_contained(bench_page(content))
    for words in (
        "Networks, batch 16, 2 threads", "Blocks, batch 256, 1 thread", "Memory of a call", "Scaling: cnn, step",
        "Overhead of a call", "cnn, batch 1, 1 thread: milliseconds", "2.50x", "2.40–2.60",
        "Mode compile is not available here: no <compiler> & no hope.", "mnist-fast bench --arch cnn",
        content["environment"]["cpu"], torch.__version__,
    ):  # fmt: skip
        assert words in page.text, words
    assert page.tags.count("figure") == page.tags.count("svg") == 2 * 3 * 2 + 1 + 1 + 1
    assert page.tags.count("table") == 2 * (3 + 1)


def test_a_hopeless_interval_leaves_the_others_to_be_seen() -> None:
    usual = row(2.5, 0.5)
    drawn = [
        bench_page(report(usual, row(2.0, 0.1, arch="lenet") | {"ratio_high": high})).decode() for high in (7.5, 4000.0)
    ]
    axes = [re.findall(r"[\d.]+x</text>", re.findall(r"<svg .*?</svg>", page, re.DOTALL)[0]) for page in drawn]
    assert axes[0] == axes[1]
    assert "1.90–4000.00" in drawn[1]


def test_charts_have_the_colours_of_the_page() -> None:
    text = bench_page(everything()).decode()
    drawings = re.findall(r"<svg .*?</svg>", text, flags=re.DOTALL)
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", " ".join(drawings)))
    assert {"var(--fused)", "var(--stock)", "var(--ink)"} <= colours <= {
        "none", "var(--fused)", "var(--stock)", "var(--ink)", "var(--line)",
    }  # fmt: skip
    for name in ("fused", "stock", "ink", "line"):
        assert len(re.findall(rf"--{name}: #", text)) == 2  # in the light and in the dark


@pytest.mark.parametrize(
    "rows",
    [
        [row(None, mode="eager")],
        [row(None, mode="fused")],
        [row(2.0, None), row(1.0, None, mode="eager")],
        [row(2.0, layer="conv1")],
        [row(0.5, device="cuda:0")],
    ],
    ids=["stock-alone", "fused-alone", "one-round", "a-block", "slower"],
)
def test_whatever_was_measured_there_is_a_page(rows: list[dict]) -> None:
    page = self_contained(bench_page(report(*rows)))
    assert "milliseconds" in page.text
    assert "not recorded" in page.text


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_recorded_results_have_a_page(path: Path) -> None:
    self_contained(bench_page(read_report(path, "bench")))


def test_the_same_results_give_the_same_page() -> None:
    content = report(row(), row(1.0, mode="eager"))
    assert bench_page(content) == bench_page(content)


def test_a_speedrun_page() -> None:
    runs = [Run(mode, seed, 0.99, 2.0, 0.1, 1.5, 0.4) for seed in (3, 4) for mode in ("eager", "fused")]
    more = {"setup_ms": 100.0, "steps_ms": 1500.0, "test_ms": 400.0, "accuracy": 0.9902}
    rows = [
        row(1.0, 0.0, mode="eager", accuracy_low=0.99, accuracy_high=0.9904, median_ms=2000.0, **more),
        row(8.0, 0.5, mode="fused", accuracy_low=None, accuracy_high=None, median_ms=250.0, **more),
    ]
    content = SpeedrunReport(environment(torch.device("cpu")), "mnist", "mnist-fast speedrun", rows, runs).to_json()
    page = self_contained(speedrun_page(content))
    for words in ("seeds 3 to 4", "8.00x", "99.000%–99.040%", "0.25 s", "includes initialising the parameters"):
        assert words in page.text, words
    assert page.tags.count("figure") == 3
    assert page.tags.count("tr") == 2 + 1 + 4 + 1


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    then, page = tmp_path / "then.json", tmp_path / "page.html"
    then.write_text(json.dumps(everything()))
    monkeypatch.setattr(runner, "run_bench", lambda *_: pytest.fail("was timed"))
    result = CliRunner().invoke(main, ["bench", "--input", str(then), "--report", str(page)])
    assert result.exit_code == 0, result.output
    assert page.read_bytes() == bench_page(read_report(then, "bench"))
    result = CliRunner().invoke(main, ["bench", "--input", str(then), "--report", str(tmp_path)])
    assert result.exit_code == 1
    assert "cannot write" in result.stderr


@pytest.mark.parametrize(
    ("command", "config", "line"),
    [
        ("bench", BenchConfig(), "mnist-fast bench"),
        (
            "bench",
            BenchConfig(archs=("cnn",), batch_sizes=(1, 64), layers=False, overhead=True, threads=(1, 2), repeats=9),
            "mnist-fast bench --arch cnn --batch-size 1,64 --no-layers --overhead --threads 1,2 --repeats 9",
        ),
        ("speedrun", SpeedrunConfig(seeds=30, first_seed=7), "mnist-fast speedrun --seeds 30 --seed 7"),
    ],
)
def test_the_command_line_repeats_it(command: str, config: object, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_line(command, config) == line
    if command == "bench":
        seen: list[object] = []
        monkeypatch.setattr(runner, "run_bench", lambda config, _: seen.append(config) or runner.BenchReport({}))
        CliRunner().invoke(main, line.split()[1:])
        assert seen == [config]


def test_values_are_quoted() -> None:
    line = command_line("speedrun", SpeedrunConfig(), dataset="folder:my pictures")
    assert line == "mnist-fast speedrun --dataset 'folder:my pictures'"
