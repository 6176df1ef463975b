"""Runs a benchmark: every case, pass by pass, all modes interleaved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from mnist_fast.bench import passes
from mnist_fast.bench.agreement import Oracle
from mnist_fast.bench.cases import Case, build_cases
from mnist_fast.bench.config import MODES, BenchConfig
from mnist_fast.bench.environment import environment
from mnist_fast.bench.memory import peak_bytes
from mnist_fast.bench.modes import Subject, build_subject
from mnist_fast.bench.settings import torch_settings
from mnist_fast.bench.timing import Statistics, clock_for, interleave, warm_up
from mnist_fast.devices import check_precision, resolve_device
from mnist_fast.errors import MnistFastError

Row = dict[str, Any]


@dataclass
class BenchReport:
    """What a benchmark found.

    Args:
        environment: of :func:`mnist_fast.bench.environment.environment`.
        results: one row for each case, pass and mode: ``arch layer mode pass batch_size precision device median_ms
            p5_ms p95_ms repeats images_per_second peak_bytes ratio_vs_best_stock``. The ratio is the lowest median of
            the stock modes over this one's, so above 1 is faster than stock; ``None`` where no stock mode ran.
        unavailable: modes that this machine cannot run, with the reason in one line.
    """

    environment: dict[str, Any]
    results: list[Row] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"command": "bench", **asdict(self)}


def run_bench(config: BenchConfig, progress: Callable[[str], None] = lambda _: None) -> BenchReport:
    """Compare ``config.modes`` on every case of every network.

    Args:
        config: the settings.
        progress: called with one line before each comparison.

    Raises:
        UsageError: a device or precision that this machine does not have.
        MnistFastError: a mode computes something else than stock PyTorch, or nothing could be measured.
    """
    device = resolve_device(config.device)
    check_precision(config.precision, device)
    with torch_settings(device, config.threads):
        report = BenchReport(environment(device))
        for arch in config.archs:
            for batch_size in config.batch_sizes:
                progress(f"{arch}, batch {batch_size}: checking that the modes agree")
                cases = build_cases(
                    arch,
                    batch_size,
                    device=device,
                    precision=config.precision,
                    layers=config.layers,
                    seed=config.seed,
                )
                for case in cases:
                    _run_case(case, config, report, progress)
    if not report.results:
        reasons = "; ".join(f"mode {mode}: {reason}" for mode, reason in report.unavailable.items())
        raise MnistFastError(f"nothing could be measured: {reasons}")
    return report


def _run_case(case: Case, config: BenchConfig, report: BenchReport, progress: Callable[[str], None]) -> None:
    names = [name for name in case.passes if name in config.passes]
    if not names:
        return
    if any(MODES[mode].compiled for mode in config.modes):
        torch.compiler.reset()  # each case compiles anew; what earlier ones left counts against torch's limit
    subjects = _agreeing_subjects(case, config, report)
    device, batch_size = case.input.device, len(case.input)
    for name in names if subjects else ():
        progress(f"{case.arch}, batch {batch_size}: {case.layer} {name}")
        calls = {subject.mode: passes.prepare(name, subject, case.arch) for subject in subjects}
        for call in calls.values():
            warm_up(call)
        samples = interleave(calls, clock_for(device), budget=config.budget, repeats=config.repeats)
        statistics = {mode: Statistics.of(seconds) for mode, seconds in samples.items()}
        stock = [measured.median_ms for mode, measured in statistics.items() if not MODES[mode].fused]
        for subject in subjects:
            measured = statistics[subject.mode]
            subject.clear_gradients()
            report.results.append(
                {
                    "arch": case.arch,
                    "layer": case.layer,
                    "mode": subject.mode,
                    "pass": name,
                    "batch_size": batch_size,
                    "precision": config.precision,
                    "device": str(device),
                    **asdict(measured),
                    "images_per_second": 1000 * batch_size / measured.median_ms,
                    "peak_bytes": peak_bytes(calls[subject.mode], device),
                    "ratio_vs_best_stock": min(stock) / measured.median_ms if stock else None,
                }
            )
            subject.clear_gradients()


def _agreeing_subjects(case: Case, config: BenchConfig, report: BenchReport) -> list[Subject]:
    """The modes that run here, compiled and checked. One that cannot be compiled is noted once and left out."""
    oracle = Oracle(case, config.precision)
    subjects = []
    for name in config.modes:
        if name in report.unavailable:
            continue
        subject = build_subject(case, MODES[name], config.precision)
        if MODES[name].compiled:
            try:
                subject.forward(subject.input)
            except Exception as error:  # whatever torch.compile, its compiler or the missing one raise
                report.unavailable[name] = f"{type(error).__name__}: {_first_line(error)}"
                continue
        oracle.check(subject)
        subjects.append(subject)
    return subjects


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
