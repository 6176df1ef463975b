"""mnist_fast.bench: what is measured, that wrong results are refused, and that the numbers mean what they say."""

from __future__ import annotations

import copy
import gc
import io
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from mnist_fast.bench import modes, noise, passes, runner, timing
from mnist_fast.bench.agreement import Oracle
from mnist_fast.bench.cases import Case, build_cases, build_overhead_cases
from mnist_fast.bench.config import DEFAULT_MODES, MODES, PASSES, BenchConfig
from mnist_fast.bench.environment import environment
from mnist_fast.bench.memory import peak_bytes
from mnist_fast.bench.modes import Subject, build_subject
from mnist_fast.bench.runner import BenchReport, run_bench
from mnist_fast.bench.table import WIDTH, print_report
from mnist_fast.bench.timing import Statistics, interleave
from mnist_fast.bench.visits import VISITS
from mnist_fast.errors import MnistFastError, UsageError
from mnist_fast.recipes import RECIPES

CPU = torch.device("cpu")
UNCOMPILED = [name for name, mode in MODES.items() if not mode.compiled]
ROW_KEYS = {
    "arch",
    "layer",
    "mode",
    "pass",
    "batch_size",
    "precision",
    "device",
    "median_ms",
    "p5_ms",
    "p95_ms",
    "repeats",
    "images_per_second",
    "peak_bytes",
    "ratio_vs_best_stock",
    "ratio_low",
    "ratio_high",
    "threads",
}


def small_case(arch: str = "lenet", layer: str = "conv2", batch_size: int = 3) -> Case:
    (case,) = (case for case in build_cases(arch, batch_size, device=CPU) if case.layer == layer)
    return case


class TestConfig:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"archs": ("resnet",)}, "unknown architecture 'resnet'; choose from cnn, "),
            ({"modes": ("eager", "warp")}, "unknown mode 'warp'; choose from eager, "),
            ({"passes": ("backward",)}, "unknown pass 'backward'; choose from forward, "),
            ({"precision": "fp8"}, "unknown precision 'fp8'; choose from fp32, bf16"),
            ({"device": "tpu"}, "unknown device 'tpu'"),
            ({"batch_sizes": (8, 0)}, "batch size 0 is too small"),
            ({"threads": (2, 0)}, "number of threads 0"),
            ({"repeats": 0}, "number of repeats 0"),
            ({"budget": 0.0}, "budget of 0.0 seconds"),
            ({"budget": math.nan}, "budget of nan seconds"),
            ({"seed": -1}, "seed -1 is out of range"),
            ({"modes": ()}, "no mode to measure"),
        ],
    )
    def test_refuses_what_means_nothing(self, options: dict, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            BenchConfig(**options)


class TestCases:
    @pytest.mark.parametrize("arch", RECIPES)
    def test_blocks_get_the_activations_of_the_network(self, arch: str) -> None:
        *blocks, network = build_cases(arch, 2, device=CPU)
        assert [case.layer for case in blocks] == [
            name for name in dict(network.fused.named_children()) if "conv" in name
        ]
        assert network.layer == "network"
        assert torch.equal(blocks[0].input, network.input)
        for block, following in pairwise(blocks):
            assert torch.equal(following.input, block.fused(block.input))

    @pytest.mark.parametrize("arch", RECIPES)
    def test_only_the_first_layer_needs_no_input_gradient(self, arch: str) -> None:
        first, *others, network = build_cases(arch, 2, device=CPU)
        assert not first.input_requires_grad
        assert all(case.input_requires_grad for case in others)
        assert not network.input_requires_grad

    def test_stock_modules_have_the_same_parameters_and_no_fused_block(self) -> None:
        for case in build_cases("cnn-dropout", 2, device=CPU):
            fused, stock = case.fused.state_dict(), case.stock.state_dict()
            assert list(fused) == list(stock)
            assert all(torch.equal(fused[name], stock[name]) for name in fused)
            assert all(type(module).__module__.startswith("torch.nn") for module in case.stock.modules())

    def test_seed_decides_everything_and_leaves_the_global_generator_alone(self) -> None:
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        first, again, other = (build_cases("lenet", 2, device=CPU, seed=seed)[-1] for seed in (1, 1, 2))
        assert torch.equal(torch.rand(3), expected)
        assert torch.equal(first.input, again.input)
        assert torch.equal(first.fused.fc3.weight, again.fused.fc3.weight)
        assert not torch.equal(first.input, other.input)
        assert not torch.equal(first.fused.fc3.weight, other.fused.fc3.weight)

    def test_without_layers_there_is_the_network_only(self) -> None:
        assert [case.layer for case in build_cases("lenet", 2, device=CPU, layers=False)] == ["network"]

    def test_bf16_activations_reach_the_second_block_as_autocast_makes_them(self) -> None:
        cases = {case.layer: case for case in build_cases("lenet", 2, device=CPU, precision="bf16")}
        assert cases["conv1"].input.dtype == torch.float32
        assert cases["conv2"].input.dtype == torch.bfloat16


class TestModes:
    def test_layouts(self) -> None:
        case = small_case("cnn")
        for name in ("channels_last", "fused"):
            subject = build_subject(case, MODES[name], "fp32")
            assert subject.input.is_contiguous(memory_format=torch.channels_last)
            weight = dict(subject.module.named_parameters())["conv2.weight"]
            assert weight.is_contiguous(memory_format=torch.channels_last)
        assert build_subject(case, MODES["eager"], "fp32").input.is_contiguous()

    def test_subjects_share_nothing_with_the_case(self) -> None:
        case = small_case()
        subject = build_subject(case, MODES["eager"], "fp32")
        with torch.no_grad():
            for parameter in subject.module.parameters():
                parameter.zero_()
            subject.input.zero_()
        assert case.input.any()
        assert all(value.any() for value in case.stock.state_dict().values())

    @pytest.mark.parametrize("name", ["channels_last", "fused"])
    def test_moving_changes_addresses_and_nothing_else(self, name: str) -> None:
        subject = build_subject(small_case(), MODES[name], "fp32")
        tensors = [subject.input, *subject.module.parameters()]
        before = [(tensor.detach().clone(), tensor.stride(), tensor.data_ptr()) for tensor in tensors]
        subject.move()
        assert subject.input.requires_grad
        assert [subject.input, *subject.module.parameters()] == tensors
        for tensor, (values, strides, address) in zip(tensors, before, strict=True):
            assert torch.equal(tensor, values)
            assert tensor.stride() == strides
            assert tensor.data_ptr() != address

    def test_bf16_runs_under_autocast(self) -> None:
        subject = build_subject(small_case(), MODES["eager"], "bf16")
        assert subject.forward(subject.input).dtype == torch.bfloat16
        assert build_subject(small_case(), MODES["eager"], "fp32").forward(subject.input).dtype == torch.float32


class TestPasses:
    def test_forward_builds_the_graph(self) -> None:
        subject = build_subject(small_case(), MODES["eager"], "fp32")
        output = passes.prepare("forward", subject, "lenet")()
        assert output.grad_fn is not None

    def test_inference_builds_none_and_switches_dropout_off(self) -> None:
        subject = build_subject(small_case("cnn-dropout", "network"), MODES["eager"], "fp32")
        call = passes.prepare("inference", subject, "cnn-dropout")
        first, second = call(), call()
        assert first.is_inference()
        assert torch.equal(first, second)

    def test_backward_gradients_are_fresh_each_time(self) -> None:
        subject = build_subject(small_case(), MODES["eager"], "fp32")
        call = passes.prepare("forward_backward", subject, "lenet")
        gradients = []
        for _ in range(2):
            call()
            gradients.append([subject.input.grad, *(parameter.grad for parameter in subject.module.parameters())])
        assert all(torch.equal(a, b) and a.any() for a, b in zip(*gradients, strict=True))

    @pytest.mark.parametrize("mode", ["eager", "fused"])
    @pytest.mark.parametrize("arch", ["lenet", "cnn", "speedrun"])  # SGD, Adam, Muon with Adam
    def test_step_computes_every_gradient_and_leaves_the_parameters(self, arch: str, mode: str) -> None:
        subject = build_subject(small_case(arch, "network"), MODES[mode], "fp32")
        before = copy.deepcopy(subject.module.state_dict())
        call = passes.prepare("step", subject, arch)
        call()
        call()
        assert all(parameter.grad.any() for parameter in subject.module.parameters())
        assert all(torch.equal(value, before[name]) for name, value in subject.module.state_dict().items())

    def test_output_gradient_is_the_same_in_every_layout(self) -> None:
        case = small_case()
        nchw, nhwc = (passes.output_gradient(build_subject(case, MODES[m], "fp32")) for m in ("eager", "channels_last"))
        assert torch.equal(nchw, nhwc)
        assert nhwc.is_contiguous(memory_format=torch.channels_last)


class _WrongInputGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[..., -1, :] = 0  # a forgotten last row
        return gradient


class TestAgreement:
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    @pytest.mark.parametrize("arch", RECIPES)
    def test_right_results_pass(self, arch: str, precision: str) -> None:
        for case in build_cases(arch, 4, device=CPU, precision=precision):
            oracle = Oracle(case, precision)
            for name in UNCOMPILED:
                oracle.check(build_subject(case, MODES[name], precision))

    @pytest.mark.parametrize(
        ("fault", "what"),
        [
            (lambda y: y * 1.001, "output"),
            (lambda y: y.flip(-1), "output"),
            (lambda y: y + y.detach() * 0 / 0, "output"),  # NaN
            (_WrongInputGradient.apply, "gradient of"),
            (lambda y: y.detach() + 0.5 * (y - y.detach()), "gradient of"),
        ],
        ids=["scaled", "flipped", "nan", "gradient-row-lost", "gradient-halved"],
    )
    def test_wrong_results_are_refused(self, fault: Callable[[Tensor], Tensor], what: str) -> None:
        case = small_case()
        subject = build_subject(case, MODES["fused"], "fp32")
        wrong = replace(subject, forward=lambda value: fault(subject.forward(value)))
        with pytest.raises(MnistFastError, match=rf"mode 'fused' computes a wrong {what}.* conv2 of lenet"):
            Oracle(case, "fp32").check(wrong)

    def test_a_gross_fault_is_refused_in_bf16_too(self) -> None:
        case = next(c for c in build_cases("lenet", 4, device=CPU, precision="bf16") if c.layer == "conv2")
        subject = build_subject(case, MODES["fused"], "bf16")
        wrong = replace(subject, forward=lambda value: subject.forward(value.flip(-1)))
        with pytest.raises(MnistFastError, match="wrong output"):
            Oracle(case, "bf16").check(wrong)

    def test_a_wrong_mode_ends_the_benchmark_untimed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def sabotage(case: Case, mode: modes.Mode, precision: str) -> Subject:
            subject = build_subject(case, mode, precision)
            if mode.fused:
                with torch.no_grad():
                    next(subject.module.parameters()).mul_(1.01)
            return subject

        monkeypatch.setattr(runner, "build_subject", sabotage)
        monkeypatch.setattr(timing, "interleave", lambda *_args, **_options: pytest.fail("timed a wrong result"))
        with pytest.raises(MnistFastError, match="'fused' computes a wrong output"):
            run_bench(
                BenchConfig(archs=("lenet",), batch_sizes=(2,), device="cpu", modes=("eager", "fused"), repeats=1)
            )


class FakeClock:
    """Each call costs what ``costs`` says; remembers who was measured when."""

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs, self.order, self.numbers = costs, [], []

    def __call__(self, call: Callable[[], object], number: int) -> float:
        name = str(call())
        self.order.append(name)
        self.numbers.append(number)
        return number * self.costs[name]


def named_calls(names: str) -> dict[str, Callable[[], object]]:
    return {name: lambda name=name: name for name in names}


class TestTiming:
    def test_every_mode_runs_once_a_round_and_starts_equally_often(self) -> None:
        clock = FakeClock({"a": 1.0, "b": 2.0, "c": 3.0})
        samples = interleave(named_calls("abc"), clock, budget=0, at_least=6)
        rounds = clock.order[3:]  # the first three calibrated
        assert ["".join(rounds[i : i + 6]) for i in range(0, 36, 6)] == ["aabbcc", "bbccaa", "ccaabb"] * 2
        assert samples == {"a": [1.0] * 6, "b": [2.0] * 6, "c": [3.0] * 6}

    def test_the_call_ahead_of_a_sample_is_no_part_of_it(self) -> None:
        calls: list[int] = []

        def clock(call: Callable[[], object], number: int) -> float:
            calls.append(number)
            return 0.002 * number + (0.5 if number == 1 else 0)  # the caches are another mode's

        samples = interleave(named_calls("a"), clock, budget=0, at_least=2, numbers={"a": 5})
        assert calls == [1, 5, 1, 5]
        assert samples["a"] == [pytest.approx(0.002)] * 2

    def test_short_calls_are_repeated_within_a_sample(self) -> None:
        clock = FakeClock({"a": timing.SAMPLE_SECONDS / 10.5, "b": 1.0})
        samples = interleave(named_calls("ab"), clock, budget=0, at_least=1)
        assert clock.numbers[2:] == [1, 11, 1, 1]
        assert samples["a"] == [pytest.approx(timing.SAMPLE_SECONDS / 10.5)]

    def test_budget_counts_all_modes_and_has_a_least_and_a_most_number_of_rounds(self) -> None:
        costs = {"a": 0.25, "b": 0.75}
        assert len(interleave(named_calls("ab"), FakeClock(costs), budget=19.5)["a"]) == 10
        assert len(interleave(named_calls("ab"), FakeClock(costs), budget=0.1)["a"]) == timing.MIN_ROUNDS
        tiny = FakeClock({"a": timing.SAMPLE_SECONDS})
        assert len(interleave(named_calls("a"), tiny, budget=1e9)["a"]) == timing.MAX_ROUNDS

    def test_garbage_collection_is_restored(self) -> None:
        seen = []

        def clock(call: Callable[[], object], number: int) -> float:
            seen.append(gc.isenabled())
            return 1.0

        interleave(named_calls("a"), clock, budget=0, at_least=2)
        assert seen[1:] == [False] * 4
        assert gc.isenabled()

    def test_statistics(self) -> None:
        measured = Statistics.of([value / 1000 for value in range(101)])  # 0 to 100 ms
        assert measured.median_ms == pytest.approx(50)
        assert measured.p5_ms == pytest.approx(5)
        assert measured.p95_ms == pytest.approx(95)
        assert measured.repeats == 101
        assert Statistics.of([0.002]) == Statistics(2.0, 2.0, 2.0, 1)

    def test_the_cpu_clock_runs_the_call_as_often_as_asked(self) -> None:
        calls = []
        assert timing.cpu_clock(lambda: calls.append(1), 5) >= 0
        assert len(calls) == 5


class TestMemory:
    def test_peak_is_of_live_bytes_not_of_the_sum(self) -> None:
        def call() -> Tensor:
            first = torch.empty(10_000, dtype=torch.uint8)
            del first
            second = torch.empty(4_000, dtype=torch.uint8)
            return torch.empty(5_000, dtype=torch.uint8) if second is not None else second

        assert peak_bytes(call, CPU) == 10_000

    def test_what_the_call_returns_is_counted(self) -> None:
        assert peak_bytes(lambda: [torch.empty(1000, dtype=torch.uint8) for _ in range(3)], CPU) == 3000

    def test_nothing_allocated(self) -> None:
        assert peak_bytes(lambda: None, CPU) == 0

    def test_backward_holds_at_least_the_gradients(self) -> None:
        subject = build_subject(small_case(), MODES["eager"], "fp32")
        call = passes.prepare("forward_backward", subject, "lenet")
        call()
        gradients = [subject.input.grad, *(parameter.grad for parameter in subject.module.parameters())]
        expected = sum(gradient.nbytes for gradient in gradients)
        subject.clear_gradients()
        assert expected < peak_bytes(call, CPU) < 100 * expected

    @pytest.mark.parametrize("arch", RECIPES)
    def test_a_fused_training_step_takes_at_most_half_of_stock_eager(self, arch: str) -> None:
        peak = {}
        for mode in ("eager", "fused"):
            subject = build_subject(small_case(arch, "network", 64), MODES[mode], "fp32")
            call = passes.prepare("step", subject, arch)
            call()  # the optimizer's state is made in the first step
            subject.clear_gradients()
            peak[mode] = peak_bytes(call, CPU)
        # deep stores the outputs of its two convolutions without pooling, as stock does.
        assert peak["fused"] <= (0.51 if arch == "deep" else 0.5) * peak["eager"]


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return run_bench(
        BenchConfig(
            archs=("lenet", "speedrun"),
            batch_sizes=(2, 3),
            device="cpu",
            modes=("eager", "channels_last", "fused"),
            repeats=2,
            threads=(1,),
        )
    )


class TestRun:
    def test_a_row_for_each_case_pass_and_mode(self, report: BenchReport) -> None:
        seen = [(r["arch"], r["batch_size"], r["layer"], r["pass"], r["mode"]) for r in report.results]
        assert len(seen) == len(set(seen)) == 2 * 2 * (3 + 3 + 4) * 3
        assert {layer for _, _, layer, pass_, _ in seen if pass_ == "step"} == {"network"}
        assert {pass_ for _, _, layer, pass_, _ in seen if layer == "network"} == set(PASSES)

    def test_rows_are_consistent(self, report: BenchReport) -> None:
        best: dict[tuple, float] = {}
        for row in report.results:
            assert set(row) == ROW_KEYS
            assert 0 < row["p5_ms"] <= row["median_ms"] <= row["p95_ms"]
            assert row["repeats"] == 2
            assert row["ratio_low"] <= row["ratio_vs_best_stock"] <= row["ratio_high"]
            assert row["images_per_second"] == pytest.approx(row["batch_size"] / row["median_ms"] * 1000)
            assert row["peak_bytes"] > 0
            assert (row["precision"], row["device"]) == ("fp32", "cpu")
            group = tuple(row[key] for key in ("arch", "batch_size", "layer", "pass"))
            if row["mode"] != "fused":
                best[group] = min(best.get(group, math.inf), row["median_ms"])
        for row in report.results:
            group = tuple(row[key] for key in ("arch", "batch_size", "layer", "pass"))
            assert row["ratio_vs_best_stock"] == pytest.approx(best[group] / row["median_ms"])

    def test_the_environment_says_what_ran(self, report: BenchReport) -> None:
        assert report.environment["threads"] == 1
        assert report.environment["torch"] == torch.__version__
        assert report.environment["cpu"]
        assert report.environment["cores"] >= 1
        assert report.environment["memory_bytes"] > 1e6
        assert report.environment["backend"]

    def test_it_is_json(self, report: BenchReport) -> None:
        value = json.loads(json.dumps(report.to_json()))
        assert value["command"] == "bench"
        assert value["results"] == report.results

    def test_threads_are_restored(self) -> None:
        before = torch.get_num_threads()
        run_bench(
            BenchConfig(
                archs=("speedrun",),
                batch_sizes=(1,),
                device="cpu",
                modes=("eager",),
                passes=("inference",),
                layers=False,
                repeats=1,
                threads=(before + 1,),
            )
        )
        assert torch.get_num_threads() == before

    def test_no_stock_mode_no_ratio(self) -> None:
        report = run_bench(
            BenchConfig(archs=("speedrun",), batch_sizes=(1,), device="cpu", modes=("fused",), repeats=1, layers=False)
        )
        assert [row["ratio_vs_best_stock"] for row in report.results] == [None] * 4
        print_report(report, Console(file=io.StringIO()))

    def test_a_mode_that_does_not_compile_is_named_and_the_others_go_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        attempts = []

        def no_compiler(module: nn.Module, **_options: object) -> Callable[[Tensor], Tensor]:
            def fail(value: Tensor) -> Tensor:
                attempts.append(module)
                raise RuntimeError("\nno C++ compiler\nsecond line")

            return fail

        monkeypatch.setattr(torch, "compile", no_compiler)
        config = BenchConfig(
            archs=("lenet",), batch_sizes=(1,), device="cpu", modes=("compile", "eager"), passes=("forward",), repeats=1
        )
        report = run_bench(config)
        assert report.unavailable == {"compile": "RuntimeError: no C++ compiler"}
        assert {row["mode"] for row in report.results} == {"eager"}
        assert len(attempts) == 1  # not once for each of the three cases
        with pytest.raises(MnistFastError, match="nothing could be measured: mode compile: RuntimeError: no C"):
            run_bench(replace(config, modes=("compile",)))

    @pytest.mark.long  # half a minute of compilation
    def test_compiled_modes_agree_and_are_timed_and_no_visit_compiles_anew(self) -> None:
        modes = ("eager", "compile", "compile_channels_last", "fused_compile")
        graphs: dict[str, int] = {}
        report = run_bench(
            BenchConfig(archs=("speedrun",), batch_sizes=(4,), device="cpu", modes=modes, repeats=VISITS, layers=False),
            lambda line: graphs.update({line: torch._dynamo.utils.counters["stats"]["unique_graphs"]}),
        )
        later = [count for line, count in graphs.items() if "visit" in line and "visit 1" not in line]
        assert len(later) == len(PASSES) * (VISITS - 1)
        assert len(set(later)) == 1
        assert not report.unavailable
        assert {row["mode"] for row in report.results} == set(modes)
        assert len(report.results) == len(modes) * len(PASSES)

    def test_progress_names_each_comparison(self) -> None:
        lines: list[str] = []
        run_bench(
            BenchConfig(
                archs=("lenet",), batch_sizes=(1,), device="cpu", modes=("eager",), passes=("inference",), repeats=1
            ),
            lines.append,
        )
        layers = ("conv1", "conv2", "network")
        assert lines[1:] == [f"lenet, batch 1: {layer} inference, visit 1 of {VISITS}" for layer in layers]


class TestTable:
    def rows(self, medians: dict[str, float], **changes: object) -> list[dict]:
        base = {"arch": "cnn", "layer": "network", "pass": "step", "batch_size": 64, "precision": "fp32"}
        base |= {"threads": 2, "ratio_vs_best_stock": None, "ratio_low": None, "ratio_high": None}
        return [{**base, "device": "cpu", "mode": mode, "median_ms": ms, **changes} for mode, ms in medians.items()]

    def text(self, rows: list[dict], unavailable: dict[str, str] | None = None, width: int | None = None) -> str:
        console = Console(file=io.StringIO(), width=width, force_terminal=width is not None, no_color=True)
        print_report(BenchReport(environment(CPU), rows, unavailable or {}), console)
        return console.file.getvalue()

    def test_notes_on_the_machine(self) -> None:
        def notes(rows: list[dict], **changes: object) -> str:
            output = io.StringIO()
            print_report(BenchReport({**quiet, **changes}, rows), Console(file=output))
            return output.getvalue()

        quiet = {**environment(CPU), "load_average": 0.1, "cores": 2}
        built = {"backend": "auto", "cpu": {"available": True, "isa": "avx2", "reason": None}}
        missing = {"backend": "auto", "cpu": {"available": False, "isa": None, "reason": "no compiler"}}
        fused = self.rows({"eager": 1.0, "fused": 1.0})
        assert "repeat when idle" in notes(fused, load_average=2.5)
        assert "repeat when idle" not in notes(fused)
        assert "fused modes ran through the stock operators: no compiler" in notes(fused, backend=missing)
        assert "stock operators" not in notes(fused, backend=built)
        assert "stock operators" not in notes(self.rows({"eager": 1.0}), backend=missing)
        assert "operators: MNIST_FAST_BACKEND=stock is set" in notes(fused, backend={**built, "backend": "stock"})

    def test_speedups(self) -> None:
        text = self.text(self.rows({"eager": 12.0, "channels_last": 6.0, "fused": 3.0}))
        cells = next(line.split() for line in text.splitlines() if "step" in line)
        assert cells == ["network", "step", "12.00", "6.000", "3.000", "2.00x", "4.00x"]

    @pytest.mark.parametrize(("low", "high", "cell"), [(1.9, 2.1, "±5%"), (0.01, 400.0, "±>100%")])
    def test_how_sure_a_ratio_is(self, low: float, high: float, cell: str) -> None:
        known = {"ratio_vs_best_stock": 2.0, "ratio_low": low, "ratio_high": high}
        text = self.text([*self.rows({"eager": 6.0}), *self.rows({"fused": 3.0}, **known)])
        assert f"2.00x {cell} " in text

    @pytest.mark.parametrize(("modes", "width"), [(tuple(MODES), WIDTH), (DEFAULT_MODES, 100)])
    @pytest.mark.parametrize("milliseconds", [0.12345, 1.2345, 99.99, 999.9, 12345.678])
    def test_it_fits(self, modes: tuple[str, ...], width: int, milliseconds: float) -> None:
        text = self.text(self.rows(dict.fromkeys(modes, milliseconds), **{"pass": "forward_backward"}), width=width)
        table = text[text.index("cnn, batch 64") :]
        assert "…" not in table
        assert re.search(r"network +forward_backward", table)
        assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in table.splitlines()) <= width

    def test_one_table_for_each_network_and_batch_size(self) -> None:
        rows = [
            *self.rows({"eager": 1.0}),
            *self.rows({"eager": 1.0}, batch_size=8),
            *self.rows({"eager": 1.0}, arch="lenet"),
        ]
        titles = [line for line in self.text(rows).splitlines() if "batch" in line]
        assert [title.split(", fp32")[0] for title in titles] == ["cnn, batch 64", "cnn, batch 8", "lenet, batch 64"]

    def test_a_mode_that_is_missing_is_a_dash_or_a_line(self) -> None:
        rows = [*self.rows({"eager": 1.0, "compile": 2.0, "fused": 0.5}), *self.rows({"eager": 1.0}, layer="conv2")]
        text = self.text(rows, {"compile": "no [red] compiler"})
        cells = next(line.split() for line in text.splitlines() if "conv2" in line)
        assert cells == ["conv2", "step", "1.000", "-", "-", "-", "-"]
        assert "mode compile is not available here: no [red] compiler" in text


class TestNoise:
    def test_without_stock_the_modes_are_compared_with_each_other(self) -> None:
        quiet, noisy = [[1.0]] * 9, [[1.0], [3.0], [1.0], [2.0], [5.0], [1.0], [2.0], [1.0], [4.0]]
        assert noise.narrow({"a": quiet, "b": quiet}, [])
        assert not noise.narrow({"a": quiet, "b": noisy}, [])
        assert not noise.narrow({"a": quiet}, [])
        assert noise.narrow({"a": quiet, "b": quiet}, ["a", "b"])

    def test_what_is_said(self) -> None:
        machine = {"load_average": 0.1, "cores": 2, "waited_fraction": 0.0}
        rows = [
            {"ratio_vs_best_stock": 2.0, "ratio_low": 2 - width, "ratio_high": 2 + width} for width in (0.01, 0.2, 0.5)
        ] + [{"ratio_vs_best_stock": None, "ratio_low": None, "ratio_high": None}]
        (line,) = noise.notes(machine, rows)
        assert line.startswith("2 of 3 ratios may differ by more than 5% when measured again (the worst by 25%): ")
        assert noise.notes(machine, rows[:1]) == []
        (line,) = noise.notes(machine, [{"ratio_vs_best_stock": 2.0, "ratio_low": 0.01, "ratio_high": 400.0}])
        assert "(the worst by >100%)" in line
        (line,) = noise.notes(machine | {"crowded_fraction": 0.3}, [])
        assert line.startswith("in 30% of the rounds the threads had less than a core each")
        (line,) = noise.notes(machine | {"waited_fraction": 0.3}, [])
        assert line.startswith("for 30% of the timed seconds others had this process's processor")
        (line,) = noise.notes(machine | {"waited_fraction": None, "load_average": 3}, [])
        assert "load average 3" in line

    def test_waiting_for_a_processor_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wall, running = iter((10.0, 14.0, 20.0, 29.0)), iter((1.0, 4.0, 4.0, 8.5))
        monkeypatch.setattr(time, "perf_counter", lambda: next(wall))
        monkeypatch.setattr(time, "thread_time", lambda: next(running))
        waiting = noise.Waiting()
        assert waiting.fraction(CPU) is None
        slept = iter((0.0, 3.0))
        with waiting.watched():
            pass
        with waiting.watched(lambda: next(slept)):
            pass
        assert waiting.fraction(CPU) == 0.25  # 7.5 of 10 seconds, and 3 that it slept by itself
        assert waiting.fraction(torch.device("cuda")) is None


class TestScaling:
    def test_everything_is_measured_with_each_number_of_threads(self) -> None:
        config = BenchConfig(
            archs=("lenet",),
            batch_sizes=(2,),
            device="cpu",
            modes=("eager", "fused"),
            passes=("inference",),
            layers=False,
            overhead=True,
            threads=(1, 2),
            repeats=2,
        )
        report = run_bench(config)
        seen = [(row["threads"], row["arch"], row["mode"]) for row in report.results]
        assert seen == [
            (t, arch, mode) for t in (1, 2) for arch in ("overhead", "lenet") for mode in ("eager", "fused")
        ]
        assert report.environment["threads"] == 2
        assert 0 <= report.environment["waited_fraction"] < 1
        assert 0 <= report.environment["crowded_fraction"] <= 1

    def test_the_overhead_case_is_tiny_and_its_modes_agree(self) -> None:
        (case,) = build_overhead_cases(device=CPU)
        assert case.fused(case.input).shape == (1, 1, 1, 1)
        oracle = Oracle(case, "fp32")
        for name in UNCOMPILED:
            oracle.check(build_subject(case, MODES[name], "fp32"))
