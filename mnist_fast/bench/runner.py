"""Runs a benchmark: every case, pass by pass, all modes interleaved."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from mnist_fast.bench import passes
from mnist_fast.bench.agreement import Oracle
from mnist_fast.bench.cases import Case, build_cases, build_overhead_cases
from mnist_fast.bench.command import command_line
from mnist_fast.bench.config import MODES, BenchConfig
from mnist_fast.bench.environment import environment
from mnist_fast.bench.memory import peak_bytes
from mnist_fast.bench.modes import Subject, build_subject
from mnist_fast.bench.noise import Waiting, narrow
from mnist_fast.bench.rows import Row, timing_columns
from mnist_fast.bench.settings import torch_settings
from mnist_fast.bench.timing import clock_for, interleave, warm_up
from mnist_fast.devices import check_precision, resolve_device
from mnist_fast.errors import MnistFastError


@dataclass
class BenchReport:
    """What a benchmark found.

    Args:
        environment: of :func:`mnist_fast.bench.environment.environment`, and ``waited_fraction``, the share of the
            timed seconds in which others had this process's processor (None on a GPU).
        results: one row for each case, pass and mode: ``arch layer mode pass batch_size precision device threads
            median_ms p5_ms p95_ms repeats images_per_second ratio_vs_best_stock ratio_low ratio_high peak_bytes``. The
            ratio is the lowest median of the stock modes over this one's, so above 1 is faster than stock; between
            ``ratio_low`` and ``ratio_high`` lies its 95% interval; ``None`` where no stock mode ran.
        unavailable: modes that this machine cannot run, with the reason in one line.
        reproduce: the command that repeats it.
    """

    environment: dict[str, Any]
    results: list[Row] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    reproduce: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"command": "bench", **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> BenchReport:
        """The inverse of :meth:`to_json`."""
        return cls(value["environment"], value["results"], value.get("unavailable", {}), value.get("reproduce"))


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
    report = BenchReport(environment(device), reproduce=command_line("bench", config))
    report.environment["threads"] = max(config.threads, default=torch.get_num_threads())
    waiting = Waiting()
    for threads in config.threads or (None,):
        with torch_settings(device, threads):
            for what, cases in _cases(config, device):
                progress(f"{what}: checking that the modes agree")
                for case in cases:
                    _run_case(case, config, report, waiting, progress)
    report.environment["waited_fraction"] = waiting.fraction(device)
    if not report.results:
        reasons = "; ".join(f"mode {mode}: {reason}" for mode, reason in report.unavailable.items())
        raise MnistFastError(f"nothing could be measured: {reasons}")
    return report


def _cases(config: BenchConfig, device: torch.device) -> Iterator[tuple[str, list[Case]]]:
    """What to measure, in words, and built when it is asked for."""
    if config.overhead:
        yield "overhead", build_overhead_cases(device=device, seed=config.seed)
    for arch, batch_size in itertools.product(config.archs, config.batch_sizes):
        cases = build_cases(
            arch,
            batch_size,
            device=device,
            precision=config.precision,
            layers=config.layers,
            seed=config.seed,
        )
        yield f"{arch}, batch {batch_size}", cases


def _run_case(
    case: Case, config: BenchConfig, report: BenchReport, waiting: Waiting, progress: Callable[[str], None]
) -> None:
    names = [name for name in case.passes if name in config.passes]
    if not names:
        return
    if any(MODES[mode].compiled for mode in config.modes):
        torch.compiler.reset()  # each case compiles anew; what earlier ones left counts against torch's limit
    subjects = _agreeing_subjects(case, config, report)
    stock = [subject.mode for subject in subjects if not MODES[subject.mode].fused]
    device, batch_size = case.input.device, len(case.input)
    for name in names if subjects else ():
        progress(f"{case.arch}, batch {batch_size}: {case.layer} {name}")
        calls = {subject.mode: passes.prepare(name, subject, case.arch) for subject in subjects}
        for call in calls.values():
            warm_up(call)
        with waiting.watched():
            samples = interleave(
                calls,
                clock_for(device),
                budget=config.budget,
                repeats=config.repeats,
                enough=lambda measured: narrow(measured, stock),
            )
        for subject in subjects:
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
                    "threads": torch.get_num_threads(),
                    **timing_columns(samples[subject.mode], [samples[mode] for mode in stock], batch_size),
                    "peak_bytes": peak_bytes(calls[subject.mode], device),
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
