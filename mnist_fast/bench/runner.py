"""Runs a benchmark: every case and pass, all modes interleaved, in visits that are spread over the whole run."""

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
from mnist_fast.bench.crowd import Crowd
from mnist_fast.bench.environment import environment
from mnist_fast.bench.memory import peak_bytes
from mnist_fast.bench.modes import Subject, build_subject
from mnist_fast.bench.noise import Waiting, crowded_fraction, narrow
from mnist_fast.bench.rows import Row, timing_columns
from mnist_fast.bench.settings import torch_settings
from mnist_fast.bench.timing import clock_for
from mnist_fast.bench.visits import FIRST_LOOK, VISITS, Visits
from mnist_fast.devices import check_precision, resolve_device
from mnist_fast.errors import MnistFastError


@dataclass
class BenchReport:
    """What a benchmark found.

    Args:
        environment: of :func:`mnist_fast.bench.environment.environment`; ``waited_fraction``, the share of the timed
            seconds in which others had this process's processor; and ``crowded_fraction``, the share of the rounds in
            which threads had less than a core each (both None on a GPU).
        results: one row for each case, pass and mode: ``arch layer mode pass batch_size precision device threads
            median_ms p5_ms p95_ms repeats images_per_second ratio_vs_best_stock ratio_low ratio_high peak_bytes``. The
            ratio is the lowest median of the stock modes over this one's, so above 1 is faster than stock; between
            ``ratio_low`` and ``ratio_high`` the same command finds it again with 95% probability; ``None`` where no
            stock mode ran.
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
    waiting, crowds = Waiting(), []
    compiled = any(MODES[mode].compiled for mode in config.modes)
    for threads in config.threads or (None,):
        with torch_settings(device, threads, compiled=compiled):
            comparisons: list[_Comparison] = []
            crowd = Crowd() if device.type == "cpu" else None
            crowds.append(crowd)
            for what, cases in _cases(config, device):
                progress(f"{what}: checking that the modes agree")
                for case in cases:
                    comparisons += _comparisons(case, config, report)
            for number in range(VISITS):
                for comparison in comparisons:
                    comparison.visit(number, waiting, crowd, progress)
            report.results += [row for comparison in comparisons for row in comparison.rows(config)]
    report.environment["waited_fraction"] = waiting.fraction(device)
    report.environment["crowded_fraction"] = crowded_fraction(crowds)
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


class _Comparison:
    """One pass of a case: what was measured of it in each mode."""

    def __init__(self, case: Case, name: str, subjects: list[Subject], config: BenchConfig) -> None:
        self._case, self._name, self._subjects = case, name, subjects
        modes = [subject.mode for subject in subjects]
        self._visits = Visits(modes, budget=config.budget, repeats=config.repeats)
        self._stock = [mode for mode in modes if not MODES[mode].fused]
        self._peaks: dict[str, int] = {}
        self._looks = config.repeats is None

    def visit(self, number: int, waiting: Waiting, crowd: Crowd | None, progress: Callable[[str], None]) -> None:
        """Measure for the share of the budget that is due by now, unless the ratios are known."""
        case, device = self._case, self._case.input.device
        known = self._looks and number >= FIRST_LOOK and narrow(self._visits.samples, self._stock)
        if known or not self._visits.rounds(number):
            return
        progress(f"{case.arch}, batch {len(case.input)}: {case.layer} {self._name}, visit {number + 1} of {VISITS}")
        for subject in self._subjects:
            subject.move()
        calls = {subject.mode: passes.prepare(self._name, subject, case.arch) for subject in self._subjects}
        with waiting.watched(lambda: crowd.slept if crowd else 0.0):
            self._visits.visit(number, calls, clock_for(device), crowd)
        for subject in self._subjects:
            subject.clear_gradients()
            if number == 0:
                self._peaks[subject.mode] = peak_bytes(calls[subject.mode], device)
                subject.clear_gradients()

    def rows(self, config: BenchConfig) -> Iterator[Row]:
        case, samples, batch_size = self._case, self._visits.samples, len(self._case.input)
        for subject in self._subjects:
            yield {
                "arch": case.arch,
                "layer": case.layer,
                "mode": subject.mode,
                "pass": self._name,
                "batch_size": batch_size,
                "precision": config.precision,
                "device": str(case.input.device),
                "threads": torch.get_num_threads(),
                **timing_columns(samples[subject.mode], [samples[mode] for mode in self._stock], batch_size),
                "peak_bytes": self._peaks[subject.mode],
            }


def _comparisons(case: Case, config: BenchConfig, report: BenchReport) -> list[_Comparison]:
    names = [name for name in case.passes if name in config.passes]
    subjects = _agreeing_subjects(case, config, report) if names else []
    return [_Comparison(case, name, subjects, config) for name in names if subjects]


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
