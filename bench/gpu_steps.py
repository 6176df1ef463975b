"""Training steps on a GPU: stock PyTorch in its best ways, and the fused blocks, eager and inside one CUDA graph.

``mnist-fast bench`` measures what a loop in Python gets; on a GPU that is mostly launches. Here each mode may also be
recorded once and replayed. Run by bench/gpu.sh; ``--device cpu`` runs the modes that need no GPU.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_fast.bench.environment import environment
from mnist_fast.bench.timing import Statistics, clock_for, interleave, warm_up
from mnist_fast.devices import autocast
from mnist_fast.fusion import unfuse
from mnist_fast.models import get_model


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
        self.run: Callable[[Tensor], Tensor] = torch.compile(self.network) if mode.compiled else self.network
        options = {"fused": True, "capturable": True} if device.type == "cuda" else {}
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.0, **options)

    def forward_backward(self) -> None:
        for parameter in self.network.parameters():
            parameter.grad = None
        with autocast("bf16" if self.mode.amp else "fp32", self.images.device):
            output = self.run(self.images)
        F.cross_entropy(output.float(), self.labels).backward()

    def step(self) -> None:
        self.forward_backward()
        self.optimizer.step()

    def call(self, name: str) -> Callable[[], object]:
        """The pass of that name, warmed up; recorded and replayed in modes with a graph."""
        run: Callable[[], None] = getattr(self, name)
        if not self.mode.graph:
            warm_up(run)
            return run
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            warm_up(run)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        graph.replay()
        return graph.replay


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


def measure(
    arch: str, batch_size: int, names: list[str], device: torch.device, budget: float
) -> list[dict[str, object]]:
    modes = {name: MODES[name] for name in names if device.type == "cuda" or not MODES[name].graph}
    exact = exact_gradients(arch, batch_size, device)
    steps = {name: Step(arch, batch_size, mode, device) for name, mode in modes.items()}  # compiled once for both
    rows: list[dict[str, object]] = []
    for name in ("forward_backward", "step"):
        calls = {mode: step.call(name) for mode, step in steps.items()}
        errors = {mode: error(step, exact) for mode, step in steps.items()}
        allowed = 2 * errors["amp"] + 1e-3
        wrong = {mode: value for mode, value in errors.items() if not value <= allowed}
        if wrong:
            raise SystemExit(f"error: {arch}, batch {batch_size}: gradients off by {wrong}, allowed {allowed:.1e}")
        samples = interleave(calls, clock_for(device), budget=budget)
        for mode, seconds in samples.items():
            row = {"arch": arch, "batch_size": batch_size, "pass": name, "mode": mode, "error": errors[mode]}
            rows.append(row | vars(Statistics.of(seconds)))
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Microseconds of the median of each mode, and how our best compares."""
    modes = list(dict.fromkeys(str(row["mode"]) for row in rows))
    lines = [f"{'µs':<34}" + "".join(f"{mode:>13}" for mode in modes) + f"{'vs graph':>10}{'vs eager':>10}"]
    for key in dict.fromkeys((row["arch"], row["batch_size"], row["pass"]) for row in rows):
        of = {
            str(row["mode"]): 1000 * float(str(row["median_ms"]))
            for row in rows
            if (row["arch"], row["batch_size"], row["pass"]) == key
        }
        ours = min((of[mode] for mode in OURS if mode in of), default=float("nan"))
        ratios = "".join(f"{of[mode] / ours:>9.1f}x" if mode in of else f"{'':>10}" for mode in ("amp_graph", "eager"))
        lines.append(f"{key[0]!s:<12}{key[1]!s:>6} {key[2]!s:<15}" + "".join(f"{of[m]:>13.1f}" for m in modes) + ratios)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arch", default="cnn,cnn-padded,lenet,anchor", help="networks, by comma")
    parser.add_argument("--batch-size", default="64,256,1024", help="batch sizes, by comma")
    parser.add_argument(
        "--modes", default=",".join(MODES), help="by comma; amp, which sets the bound of errors, is needed"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds of measuring for each row of the table")
    parser.add_argument("--json", type=Path, help="where to write all rows and the machine's description")
    options = parser.parse_args()
    device = torch.device(options.device)
    rows = [
        row
        for arch in options.arch.split(",")
        for batch_size in map(int, options.batch_size.split(","))
        for row in measure(arch, batch_size, options.modes.split(","), device, options.budget)
    ]
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(device), "results": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
