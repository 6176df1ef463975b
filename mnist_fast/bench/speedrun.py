"""The record: whole runs of the published recipe with stock PyTorch and of ours, in turns, each timed from end to end.

Every run goes through :func:`mnist_fast.training.train`, as ``mnist-fast train`` does.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from mnist_fast.bench.command import command_line
from mnist_fast.bench.contest import ANCHOR, ENTRANTS, OURS, Entrant, SpeedrunConfig
from mnist_fast.bench.environment import environment
from mnist_fast.bench.noise import Waiting
from mnist_fast.bench.rows import Row, timing_columns
from mnist_fast.bench.settings import torch_settings
from mnist_fast.bench.statistics import mean
from mnist_fast.bench.timing import in_turns
from mnist_fast.config import Config, make_config
from mnist_fast.data import Dataset
from mnist_fast.devices import check_precision, resolve_device
from mnist_fast.training import train

WARM_UP_STEPS = 20
INCLUDED = (
    "initialising the parameters and the optimizer, drawing the order from all training images, normalising every "
    "batch, all training steps, the test pass to the last prediction"
)
NOT_INCLUDED = (
    "importing, reading the files into memory (uint8), and one warm-up of the process for each mode before the first "
    f"run: {WARM_UP_STEPS} steps and a test pass of a throw-away network on noise"
)


@dataclass(frozen=True)
class Run:
    """One run: its seed, the accuracy (0..1) it reached, and where its seconds went; ``setup`` is all the rest."""

    mode: str
    seed: int
    accuracy: float
    seconds: float
    setup_seconds: float
    steps_seconds: float
    test_seconds: float


@dataclass
class SpeedrunReport:
    """What the runs showed.

    Args:
        environment: of :func:`mnist_fast.bench.environment.environment`.
        dataset: the name of the data.
        results: one row for each mode, with the columns of ``mnist-fast bench`` (``pass`` is ``run``: one call is a
            whole run), ``setup_ms steps_ms test_ms`` (medians), ``accuracy`` (mean over the seeds, 0..1),
            ``accuracy_low accuracy_high`` (Student's 95% interval of that mean) and ``accuracy_std``.
        runs: every single one.
        reproduce: the command that repeats it.
    """

    environment: dict[str, Any]
    dataset: str
    reproduce: str
    results: list[Row] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"command": "speedrun", "included": INCLUDED, "not_included": NOT_INCLUDED, **asdict(self)}


def run_speedrun(
    config: SpeedrunConfig, dataset: Dataset, progress: Callable[[str], None] = lambda _: None
) -> SpeedrunReport:
    """Train ``config.seeds`` times in each mode, the modes in turns.

    Args:
        config: the settings.
        dataset: on the CPU, uint8.
        progress: called with one line after each run.

    Raises:
        UsageError: a device or precision that this machine does not have.
        NonFiniteLossError: a run diverged.
    """
    device = resolve_device(config.device)
    check_precision(config.precision, device)
    with torch_settings(device, config.threads):
        again = command_line("speedrun", config, dataset=dataset.name)
        report = SpeedrunReport(environment(device), dataset.name, again)
        entrants = {name: ENTRANTS[name] for name in config.modes}
        for entrant in entrants.values():
            _warm_up(entrant, training_config(entrant, config, config.first_seed), dataset)
        seeds = range(config.first_seed, config.first_seed + config.seeds)
        waiting = Waiting()
        for seed, names in zip(seeds, in_turns(list(entrants)), strict=False):
            for name in names:
                with waiting.watched():
                    run = _timed_run(entrants[name], training_config(entrants[name], config, seed), dataset)
                report.runs.append(run)
                progress(f"seed {seed}, {name}: {run.accuracy:.2%} in {run.seconds:.3f} s")
    report.environment["waited_fraction"] = waiting.fraction(device)
    report.results = [_row(entrant, config, report, str(device), dataset) for entrant in entrants.values()]
    return report


def training_config(entrant: Entrant, config: SpeedrunConfig, seed: int) -> Config:
    """The configuration of one run: the recipe of the entrant's network, and nothing of our choice but the seed."""
    network = {"arch": ANCHOR}
    if entrant.ours:
        network = {"arch": config.arch or OURS} if config.recipe is None else {"recipe": config.recipe}
    return make_config(
        {
            **network,
            "backend": "fused" if entrant.fused else "stock",
            "replay": entrant.fused,  # PyTorch alone does not record steps on a CPU
            "seed": seed,
            "device": config.device,
            "precision": config.precision,
        }
    )


def _warm_up(entrant: Entrant, config: Config, dataset: Dataset) -> None:
    """Start threads, fill the allocator, and let libraries choose kernels for every batch shape of the runs."""
    generator = torch.Generator().manual_seed(config.seed)
    limit = min(config.images_per_epoch or len(dataset.train_images), len(dataset.train_images))
    last_batch = limit % config.batch_size

    def noise(images: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
        shape = min(count, len(images)), *images.shape[1:]
        values = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        return values, torch.randint(len(dataset.classes), shape[:1], dtype=labels.dtype, generator=generator)

    train_images, train_labels = noise(
        dataset.train_images, dataset.train_labels, WARM_UP_STEPS * config.batch_size + last_batch
    )
    test_images, test_labels = noise(dataset.test_images, dataset.test_labels, len(dataset.test_images))
    throw_away = replace(
        dataset, train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )
    train(replace(config, epochs=1), throw_away, prepare=_layout(entrant))


def _timed_run(entrant: Entrant, config: Config, dataset: Dataset) -> Run:
    gc.collect()  # the garbage of the run before is not this one's
    start = time.perf_counter()
    result = train(config, dataset, prepare=_layout(entrant))
    seconds = time.perf_counter() - start
    testing = sum(epoch["test_seconds"] for epoch in result.history)
    setup = seconds - result.train_seconds - testing
    return Run(entrant.name, config.seed, result.evaluation.accuracy, seconds, setup, result.train_seconds, testing)


def _layout(entrant: Entrant) -> Callable[[nn.Module], nn.Module]:
    """What lays a stock network out in memory; fused blocks choose for themselves."""

    def lay_out(model: nn.Module) -> nn.Module:
        if not entrant.fused and entrant.channels_last:
            return model.to(memory_format=torch.channels_last)
        if not entrant.fused:
            # The trainer's batches say channels_last by their strides, which every convolution would follow.
            model.register_forward_pre_hook(lambda _, inputs: inputs[0].squeeze(1).unsqueeze(1))
        return model

    return lay_out


def _row(entrant: Entrant, config: SpeedrunConfig, report: SpeedrunReport, device: str, dataset: Dataset) -> Row:
    runs = report.runs
    own = [run for run in runs if run.mode == entrant.name]
    anchors = [name for name in config.modes if not ENTRANTS[name].fused and not ENTRANTS[name].ours]
    stock = [[[run.seconds] for run in runs if run.mode == name] for name in anchors]  # each run is a visit
    recipe = training_config(entrant, config, config.first_seed)
    images = recipe.epochs * min(recipe.images_per_epoch or len(dataset.train_images), len(dataset.train_images))
    accuracies = [run.accuracy for run in own]
    accuracy = mean(accuracies)
    return {
        "arch": recipe.arch,
        "layer": "network",
        "mode": entrant.name,
        "pass": "run",
        "batch_size": recipe.batch_size,
        "precision": recipe.precision,
        "device": device,
        "threads": report.environment["threads"],
        **timing_columns([[run.seconds] for run in own], stock, images),
        "peak_bytes": None,
        "setup_ms": 1000 * statistics.median(run.setup_seconds for run in own),
        "steps_ms": 1000 * statistics.median(run.steps_seconds for run in own),
        "test_ms": 1000 * statistics.median(run.test_seconds for run in own),
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "accuracy_std": statistics.stdev(accuracies) if len(own) > 1 else None,
    }
