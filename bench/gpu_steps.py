"""Training steps on a GPU: stock PyTorch in its best ways, and the fused blocks, eager and inside one CUDA graph.

``mnist-fast bench`` measures what a loop in Python gets; on a GPU that is mostly launches. Here each mode may also be
recorded once and replayed, by the recorder that training uses. Run by bench/gpu.sh; ``--device cpu`` runs the modes
that need no GPU. Rows are written as they come, so that a run that is stopped leaves those it had.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_fast.bench.environment import environment
from mnist_fast.bench.timing import Statistics, clock_for, interleave, warm_up
from mnist_fast.devices import autocast
from mnist_fast.fusion import unfuse
from mnist_fast.graphs import CudaRecorder
from mnist_fast.models import get_model
from mnist_fast.recording import WARM_UP_CALLS


@dataclass(frozen=True)
class Mode:
    """How a step runs: with our kernels, under autocast to bfloat16 in channels_last, compiled, as one CUDA graph."""

    fused: bool = False
    amp: bool = True
    compiled: bool = False
    graph: bool = False


MODES = {
    "eager": Mode(amp=False),
    "amp": Mode(),
    "compile": Mode(compiled=True),
    "amp_graph": Mode(graph=True),
    "fused": Mode(fused=True),
    "fused_graph": Mode(fused=True, graph=True),
}
OURS = ("fused", "fused_graph")
Row = dict[str, Any]


class Step:
    """One network, one batch: forward and backward, or a whole training step (learning rate 0: parameters stay)."""

    def __init__(self, arch: str, batch_size: int, mode: Mode, device: torch.device) -> None:
        torch.manual_seed(0)
        network = get_model(arch)
        network.eval()  # no dropout: the gradients are compared
        self.images = torch.randn(batch_size, 1, 28, 28).to(device)
        self.labels = torch.randint(10, (batch_size,)).to(device)
        self.mode = mode
        self.network = (network if mode.fused else unfuse(network)).to(device)
        if mode.amp:
            self.network = self.network.to(memory_format=torch.channels_last)
        self.run: Callable[[Tensor], Tensor] = self.network
        if mode.compiled:
            self.run = torch.compile(self.network, dynamic=False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.0, fused=True, capturable=mode.graph)

    def forward_backward(self) -> Tensor:
        for parameter in self.network.parameters():
            parameter.grad = None
        with autocast("bf16" if self.mode.amp else "fp32", self.images.device):
            output = self.run(self.images)
        loss = F.cross_entropy(output.float(), self.labels)
        loss.backward()
        return loss

    def step(self) -> Tensor:
        loss = self.forward_backward()
        self.optimizer.step()
        return loss

    def call(self, name: str) -> Callable[[], object]:
        """The pass of that name, warmed up; recorded and replayed in modes with a graph."""
        run: Callable[[], Tensor] = getattr(self, name)
        if not self.mode.graph:
            warm_up(run)
            return run
        return recorded(run, self.images.device)


def recorded(run: Callable[[], Tensor], device: torch.device) -> Callable[[], object]:
    """Replays what ``run`` does, warmed up."""
    recorder = CudaRecorder(device)
    for _ in range(WARM_UP_CALLS):
        recorder.run(run)
    _, replay, reason = recorder.record(run)
    if replay is None:
        raise RuntimeError(f"no CUDA graph: {reason}")
    return replay


def exact_gradients(arch: str, batch_size: int, device: torch.device) -> list[Tensor]:
    """Stock's in float64."""
    step = Step(arch, batch_size, Mode(amp=False), device)
    network: nn.Module = step.network.double()
    F.cross_entropy(network(step.images.double()), step.labels).backward()
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def error(step: Step, exact: list[Tensor]) -> float:
    """The largest relative error, in norm, of a parameter's gradient."""
    got = [parameter.grad for parameter in step.network.parameters() if parameter.grad is not None]
    return max(float((g.double() - e).norm() / e.norm()) for g, e in zip(got, exact, strict=True))


def measure(arch: str, batch_size: int, names: list[str], device: torch.device, budget: float) -> list[Row]:
    """Rows of both passes in each mode. Where gradients are wrong or a mode does not run, a fault and no times."""
    torch.compiler.reset()  # else so many networks and sizes would count as too many versions of one
    modes = {name: MODES[name] for name in names if device.type == "cuda" or not MODES[name].graph}
    exact = exact_gradients(arch, batch_size, device)
    steps = {name: Step(arch, batch_size, mode, device) for name, mode in modes.items()}  # compiled once for both
    rows: list[Row] = []
    for name in ("forward_backward", "step"):
        calls, errors, faults = {}, {}, {}
        for mode, step in steps.items():
            try:
                calls[mode] = step.call(name)
                errors[mode] = error(step, exact)
            except Exception as fault:  # of whatever library is below: the other modes shall be measured all the same
                faults[mode] = " ".join(f"{type(fault).__name__}: {fault}".split())[:200]
        allowed = 2 * errors.get("amp", 0.0) + 1e-3
        for mode, value in errors.items():
            if not value <= allowed:
                faults[mode] = f"gradients are off by {value:.1e}, allowed {allowed:.1e}"
        right = {mode: call for mode, call in calls.items() if mode not in faults}
        samples = interleave(right, clock_for(device), budget=budget) if right else {}
        for mode in modes:
            row: Row = {"arch": arch, "batch_size": batch_size, "pass": name, "mode": mode, "error": errors.get(mode)}
            rows.append(row | (vars(Statistics.of(samples[mode])) if mode in samples else {"fault": faults[mode]}))
    return rows


def table(rows: list[Row]) -> str:
    """Microseconds of the median of each mode, and how our best compares; ``-`` where a mode has no times."""
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    lines = [f"{'µs':<34}" + "".join(f"{mode:>13}" for mode in modes) + f"{'vs graph':>10}{'vs eager':>10}"]
    for key in dict.fromkeys((row["arch"], row["batch_size"], row["pass"]) for row in rows):
        of = {
            row["mode"]: 1000 * row["median_ms"]
            for row in rows
            if (row["arch"], row["batch_size"], row["pass"]) == key and "median_ms" in row
        }
        ours = min((of[mode] for mode in OURS if mode in of), default=float("nan"))
        times = "".join(f"{of[mode]:>13.1f}" if mode in of else f"{'-':>13}" for mode in modes)
        ratios = "".join(f"{of[mode] / ours:>9.1f}x" if mode in of else f"{'':>10}" for mode in ("amp_graph", "eager"))
        lines.append(f"{key[0]:<12}{key[1]:>6} {key[2]:<15}{times}{ratios}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arch", default="cnn,cnn-padded,anchor,lenet", help="networks, by comma")
    parser.add_argument("--batch-size", default="256,64,1024", help="batch sizes, by comma, the most wanted first")
    parser.add_argument(
        "--modes", default=",".join(MODES), help="by comma; amp, which sets the bound of errors, is needed"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds of measuring for each row of the table")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing new after so many")
    parser.add_argument("--json", type=Path, help="where to write all rows and the machine's description")
    options = parser.parse_args()
    device, began, rows = torch.device(options.device), time.monotonic(), []
    for batch_size in map(int, options.batch_size.split(",")):
        for arch in options.arch.split(","):
            if time.monotonic() - began > options.seconds:
                print(f"no time for {arch}, batch {batch_size}", file=sys.stderr)
                continue
            rows += measure(arch, batch_size, options.modes.split(","), device, options.budget)
            if options.json:
                record = {"environment": environment(device), "results": rows}
                options.json.write_text(json.dumps(record, indent=1) + "\n")
    print(table(rows))
    faults = [
        f"{r['arch']}, batch {r['batch_size']}, {r['pass']}, {r['mode']}: {r['fault']}" for r in rows if "fault" in r
    ]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
