"""mnist_fast.bench.speedrun: who runs, on what, in which order, and what the rows say of the runs."""

from __future__ import annotations

import io
import json
import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.console import Console
from test_bench import ROW_KEYS
from tiny import tiny_dataset
from torch import nn

from mnist_fast.bench import speedrun
from mnist_fast.bench.contest import DEFAULT_ENTRANTS, ENTRANTS, SpeedrunConfig
from mnist_fast.bench.speedrun import SpeedrunReport, run_speedrun, training_config
from mnist_fast.bench.speedrun_table import print_speedrun
from mnist_fast.errors import UsageError
from mnist_fast.nn import ConvReLUMaxPool2d
from mnist_fast.recipes import LADDER
from mnist_fast.training import train

DATA = tiny_dataset(train=300)


@pytest.fixture(scope="module")
def report() -> SpeedrunReport:
    return run_speedrun(SpeedrunConfig(seeds=3, first_seed=5, device="cpu", threads=1), DATA)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Each call of ``train``, with the network as it went into training; 1 step instead of all."""
    calls: list[dict[str, Any]] = []

    def spy(config: Any, dataset: Any, *, prepare: Any) -> Any:
        def see(model: nn.Module) -> nn.Module:
            model = prepare(model)
            calls.append({"config": config, "dataset": dataset, "model": model})
            return model

        return train(replace(config, images_per_epoch=config.batch_size), dataset, prepare=see)

    monkeypatch.setattr(speedrun, "train", spy)
    return calls


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": ("eager", "warp")}, "unknown mode 'warp'; choose from eager, "),
        ({"modes": ()}, "no mode to run"),
        ({"arch": "resnet"}, "unknown architecture 'resnet'"),
        ({"recipe": "slow"}, "unknown recipe 'slow'; choose from "),
        ({"arch": "cnn", "recipe": "fast"}, "the recipe fast has its own network"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"seeds": 0}, "number of seeds 0 is too small"),
        ({"threads": 0}, "number of threads 0 is too small"),
        ({"first_seed": -1}, "seed -1 is out of range"),
        ({"first_seed": 2**63 - 1}, "out of range"),
    ],
)
def test_refuses_what_means_nothing(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SpeedrunConfig(**options)


def test_modes_take_turns_after_a_warm_up_of_each(trained: list) -> None:
    lines: list[str] = []
    config = SpeedrunConfig(seeds=3, first_seed=7, modes=("eager", "fused"), device="cpu")
    report = run_speedrun(config, DATA, lines.append)
    warm_up, runs = trained[:2], trained[2:]
    turns = [("anchor", 7), ("speedrun", 7), ("speedrun", 8), ("anchor", 8), ("anchor", 9), ("speedrun", 9)]
    assert [(call["config"].arch, call["config"].seed) for call in runs] == turns
    assert [call["config"].arch for call in warm_up] == ["anchor", "speedrun"]
    assert all(call["dataset"] is DATA for call in runs)
    assert [(run.mode, run.seed) for run in report.runs][:2] == [("eager", 7), ("fused", 7)]
    assert [line.split(": ")[0] for line in lines][:3] == ["seed 7, eager", "seed 7, fused", "seed 8, fused"]


def test_the_warm_up_sees_none_of_the_data(trained: list) -> None:
    run_speedrun(SpeedrunConfig(seeds=1, modes=("fused",), device="cpu"), DATA)
    noise = trained[0]["dataset"]
    assert len(noise.test_images) == len(DATA.test_images)
    for part in ("train_images", "test_images"):
        ours, theirs = getattr(noise, part).flatten(1), getattr(DATA, part).flatten(1)
        assert not (ours[:, None] == theirs[None]).all(dim=2).any()


def test_entrants_are_trained_as_they_say(trained: list) -> None:
    run_speedrun(SpeedrunConfig(seeds=1, modes=tuple(ENTRANTS), device="cpu"), DATA)
    for name, call in zip(ENTRANTS, trained[len(ENTRANTS) :], strict=True):
        entrant, model, seen = ENTRANTS[name], call["model"], []
        assert any(isinstance(module, ConvReLUMaxPool2d) for module in model.modules()) == entrant.fused
        assert call["config"].arch == ("speedrun" if entrant.ours else "anchor")
        assert call["config"].replay == entrant.fused
        model[1].register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        images = torch.rand(2, 28, 28, 1).permute(0, 3, 1, 2)  # as the trainer makes them
        assert torch.equal(model(images), model(images.contiguous()))
        if not entrant.fused:
            assert seen[0].is_contiguous(memory_format=torch.channels_last) == entrant.channels_last
            assert model.conv2.weight.is_contiguous(memory_format=torch.channels_last) == entrant.channels_last


def test_ours_comes_by_network_or_from_the_ladder() -> None:
    ours, theirs = ENTRANTS["fused"], ENTRANTS["eager"]
    assert training_config(ours, SpeedrunConfig(arch="lenet"), 1).arch == "lenet"
    named = training_config(ours, SpeedrunConfig(recipe="fast"), 1)
    assert (named.recipe, named.arch) == ("fast", LADDER["fast"].arch)
    assert training_config(theirs, SpeedrunConfig(recipe="fast"), 1) == training_config(theirs, SpeedrunConfig(), 1)


def test_it_trains_as_mnist_fast_train_does(report: SpeedrunReport) -> None:
    config = training_config(ENTRANTS["fused"], SpeedrunConfig(device="cpu"), 5)
    torch.set_num_threads(1)
    (run,) = (run for run in report.runs if (run.mode, run.seed) == ("fused", 5))
    assert train(config, DATA).evaluation.accuracy == run.accuracy


def test_rows(report: SpeedrunReport) -> None:
    assert [row["mode"] for row in report.results] == list(DEFAULT_ENTRANTS)
    medians = {}
    for row in report.results:
        runs = [run for run in report.runs if run.mode == row["mode"]]
        assert {run.seed for run in runs} == {5, 6, 7}
        assert set(row) >= ROW_KEYS
        assert (row["pass"], row["layer"], row["repeats"]) == ("run", "network", 3)
        assert row["arch"] == ("speedrun" if row["mode"] == "fused" else "anchor")
        medians[row["mode"]] = row["median_ms"]
        assert row["median_ms"] == pytest.approx(1000 * statistics.median(run.seconds for run in runs))
        assert row["accuracy"] == pytest.approx(statistics.mean(run.accuracy for run in runs))
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert row["images_per_second"] == pytest.approx(300 / row["median_ms"] * 1000)
    best = min(medians["eager"], medians["channels_last"])
    for row in report.results:
        assert row["ratio_vs_best_stock"] == pytest.approx(best / row["median_ms"])


def test_the_parts_of_a_run_are_its_time(report: SpeedrunReport) -> None:
    for run in report.runs:
        parts = (run.setup_seconds, run.steps_seconds, run.test_seconds)
        assert all(part > 0 for part in parts)
        assert sum(parts) == pytest.approx(run.seconds)


def test_without_the_stock_anchor_there_is_no_ratio() -> None:
    modes = ("fused", "fused_anchor", "stock_ours")
    report = run_speedrun(SpeedrunConfig(seeds=1, modes=modes, device="cpu"), DATA)
    assert [row["ratio_vs_best_stock"] for row in report.results] == [None] * 3
    assert all(row["accuracy_low"] is None for row in report.results)
    print_speedrun(report, Console(file=io.StringIO()))


def test_it_is_json_and_says_what_the_times_include(report: SpeedrunReport) -> None:
    value = json.loads(json.dumps(report.to_json()))
    assert value["command"] == "speedrun"
    assert value["results"] == report.results
    assert len(value["runs"]) == 9
    assert "normalising every" in value["included"]
    assert "warm-up" in value["not_included"]
    assert 0 <= value["environment"]["waited_fraction"] < 1


def test_the_table_fits(report: SpeedrunReport) -> None:
    wide = [{**row, "median_ms": 123456.7, "p95_ms": 123456.7, "mode": "stock_ours"} for row in report.results]
    console = Console(file=io.StringIO())
    print_speedrun(replace(report, results=wide), console)
    text = console.file.getvalue()
    assert "tiny, 3 runs of each mode, seeds 5 to 7" in text
    assert "stock_ours" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 120
