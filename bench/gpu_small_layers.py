"""Small layers on a GPU both ways: by the direct kernels, which take them, and on tensor cores, which could.

Which is right was decided without a GPU (csrc/cuda/plan_direct.cpp); these times decide it with one. Run by
bench/gpu.sh. Calls are recorded in a CUDA graph, many in a row, so that kernels are measured and not their launches.
``--device cpu`` rehearses the script; there both ways are the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_steps import recorded
from torch import Tensor, nn

from mnist_fast.bench.timing import Statistics, clock_for, interleave
from mnist_fast.models import get_model
from mnist_fast.ops import cuda

LAYERS = {  # network and block, then the input's channels and size
    "cnn.conv1": (1, 28),
    "cnn-padded.conv1": (1, 28),
    "anchor.conv1": (1, 28),
    "speedrun.conv1": (1, 28),
    "lenet.conv1": (1, 28),
    "lenet.conv2": (6, 12),
}
WAYS = {"direct": True, "tensor_cores": False}
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
CALLS = 20  # in a graph
Row = dict[str, Any]


def passes(name: str, batch_size: int, dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """A layer's passes, each called :data:`CALLS` times; the input's gradient where a training step wants it."""
    torch.manual_seed(0)
    arch, block = name.split(".")
    layer: nn.Module = getattr(get_model(arch), block).to(device, dtype, memory_format=torch.channels_last)
    channels, size = LAYERS[name]
    x = torch.randn(batch_size, channels, size, size).to(device, dtype, memory_format=torch.channels_last)
    wanted = [*layer.parameters(), *([x.requires_grad_()] if channels > 1 else [])]
    gradient = torch.randn_like(layer(x))

    def forward() -> Tensor:
        return layer(x)

    def forward_backward() -> Tensor:
        return torch.autograd.grad(layer(x), wanted, gradient)[0]

    def many(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: [call() for _ in range(CALLS)][-1]

    return {call.__name__: many(call) for call in (forward, forward_backward)}


def measure(name: str, batch_size: int, precision: str, device: torch.device, budget: float) -> list[Row]:
    """A row for each pass and way: milliseconds of one call."""
    rows: list[Row] = []
    for pass_name, call in passes(name, batch_size, DTYPES[precision], device).items():
        calls = {}
        try:
            for way, direct in WAYS.items():
                cuda.set_direct(direct)
                calls[way] = recorded(call, device) if device.type == "cuda" else call
        finally:
            cuda.set_direct(True)
        for way, samples in interleave(calls, clock_for(device), budget=budget).items():
            of_one = Statistics.of([seconds / CALLS for seconds in samples])
            row = {"layer": name, "batch_size": batch_size, "precision": precision, "pass": pass_name, "way": way}
            rows.append(row | vars(of_one))
    return rows


def table(rows: list[Row]) -> str:
    """Microseconds of the median each way, and how many times as fast the direct kernels are."""
    lines = [f"{'µs':<42}" + "".join(f"{way:>13}" for way in WAYS) + f"{'ratio':>8}"]
    for key in dict.fromkeys((row["layer"], row["batch_size"], row["precision"], row["pass"]) for row in rows):
        of = {
            row["way"]: 1000 * row["median_ms"]
            for row in rows
            if (row["layer"], row["batch_size"], row["precision"], row["pass"]) == key
        }
        times, ratio = "".join(f"{of[way]:>13.2f}" for way in WAYS), of["tensor_cores"] / of["direct"]
        lines.append(f"{key[0]:<18}{key[1]:>5} {key[2]:<5}{key[3]:<17} {times}{ratio:>7.2f}x")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", default=",".join(LAYERS), help="by comma")
    parser.add_argument("--batch-size", default="256,64,1024", help="by comma")
    parser.add_argument("--precision", default=",".join(DTYPES), help="by comma")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget", type=float, default=0.2, help="seconds of measuring for each row of the table")
    parser.add_argument("--json", type=Path, help="where to write all rows")
    options = parser.parse_args()
    rows: list[Row] = []
    for batch_size in map(int, options.batch_size.split(",")):
        for layer in options.layers.split(","):
            for precision in options.precision.split(","):
                rows += measure(layer, batch_size, precision, torch.device(options.device), options.budget)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
