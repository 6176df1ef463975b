"""The stages of bench/gpu.sh, which says what it is for. Imports nothing that the first stage has yet to install."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
SECONDS = 530.0  # for all stages together

Command = list[str]


@dataclass(frozen=True)
class Stage:
    """Commands that run one after the other, until one fails.

    Attributes:
        name: as the table has it.
        seconds: after which it is stopped.
        commands: what to run, in a directory that is removed at the end.
        essential: without it no later stage can run.
        needs: a program without which the stage is left out.
        output: a file for what is printed to standard output; None: the terminal.
    """

    name: str
    seconds: float
    commands: list[Command]
    essential: bool = False
    needs: str | None = None
    output: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """How a stage went: ``ok``, ``left out: …``, ``failed …`` or ``stopped …``, and the seconds it took."""

    name: str
    result: str
    seconds: float = 0.0

    @property
    def is_fine(self) -> bool:
        return self.result.startswith(("ok", "left out"))


def run(stage: Stage, directory: Path, remaining: float) -> Outcome:
    """Run a stage in ``directory``, for at most ``remaining`` seconds."""
    if stage.needs and shutil.which(stage.needs) is None:
        return Outcome(stage.name, f"left out: there is no {stage.needs}")
    limit = min(stage.seconds, remaining)
    if limit <= 0:
        return Outcome(stage.name, "left out: no time is left")
    began, result = time.monotonic(), "ok"
    with (stage.output or Path(os.devnull)).open("w") as file:
        for command in stage.commands:
            left = max(0.0, limit - (time.monotonic() - began))
            code = _call(command, directory, left, file if stage.output else None)
            if code != 0:
                result = f"stopped after {limit:.0f} s" if code is None else f"failed with exit code {code}"
                break
    return Outcome(stage.name, result, round(time.monotonic() - began, 1))


def _call(command: Command, directory: Path, seconds: float, output: Any) -> int | None:
    """The exit code; None where the command had to be stopped, with all processes that it started."""
    try:
        process = subprocess.Popen(command, cwd=directory, stdout=output, start_new_session=True)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 127
    try:
        return process.wait(None if seconds == math.inf else seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_all(stages: list[Stage], directory: Path, seconds: float) -> list[Outcome]:
    """Run the stages in order, for at most ``seconds``; where an essential one fails, leave out the rest."""
    outcomes: list[Outcome] = []
    end, missing = time.monotonic() + seconds, ""
    for stage in stages:
        print(f"\n== {stage.name}", flush=True)
        if missing:
            outcomes.append(Outcome(stage.name, f"left out: the stage {missing!r} failed"))
        else:
            outcomes.append(run(stage, directory, end - time.monotonic()))
            missing = stage.name if stage.essential and not outcomes[-1].is_fine else ""
        print(f"{stage.name}: {outcomes[-1].result}", flush=True)
    return outcomes


def stages(device: str, results: Path, work: Path) -> list[Stage]:
    """What there is to do on a GPU; on the CPU the same, as far as it goes there, on small sizes."""
    gpu, python = device != "cpu", sys.executable
    sources, bench = CHECKOUT / "tests/simt", CHECKOUT / "bench"
    includes = [f"-I{CHECKOUT / folder}" for folder in ("csrc", "tests", "tests/simt/include")]
    on_cpu = [os.environ.get("CXX", "c++"), "-std=c++20", "-w", *includes, "-x", "c++", f"{sources}/fragments_test.cu"]
    on_gpu = ["nvcc", "-std=c++17", includes[0], "-arch=native", f"{sources}/fragments_test.cu"]
    active = "import sys, mnist_fast; sys.exit(mnist_fast.backend_info()['cuda']['reason'])"
    tests = ("test_ops_cuda", "test_graphs", "test_data_batching", "test_data_augmentation")
    small_steps = ["--arch", "lenet", "--batch-size", "8", "--modes", "eager,amp,fused", "--budget", "0.1"]
    small_layers = ["--layers", "lenet.conv2", "--batch-size", "8", "--precision", "fp32", "--budget", "0"]
    training = ["--arch", "cnn", "--batch-size", "256", "--epochs", "3", "--seed", "0", "--precision", "bf16"]
    sanitize = ["compute-sanitizer", "--error-exitcode", "9"]
    small_calls = [python, f"{bench}/gpu_small_calls.py"]
    build = [[python, "-m", "pip", "install", "--quiet", f"{CHECKOUT}[test]"]] if gpu else []
    return [
        Stage(
            "build",
            150,
            [*build, [python, "-m", "mnist_fast", "doctor"], *([[python, "-c", active]] if gpu else [])],
            essential=True,
        ),
        Stage(
            "fragments as on the CPU",
            40,
            [
                [*on_cpu, "-o", "on_cpu"],
                [*(on_gpu if gpu else on_cpu), "-o", "on_gpu"],
                ["sh", "-c", "./on_cpu >cpu && ./on_gpu >gpu && diff cpu gpu"],
            ],
        ),
        Stage(
            "tests of the operator and the trainer",
            150,
            [[python, "-m", "pytest", *(f"{CHECKOUT}/tests/{name}.py" for name in tests)]],
        ),
        Stage(
            "training steps",
            170,
            [
                [
                    *(python, f"{bench}/gpu_steps.py", "--device", device, "--seconds", "150"),
                    *("--json", str(work / "steps.json"), *([] if gpu else small_steps)),
                ]
            ],
        ),
        Stage(
            "small layers both ways",
            60,
            [
                [
                    *(python, f"{bench}/gpu_small_layers.py", "--device", device),
                    *("--json", str(work / "small_layers.json"), *([] if gpu else small_layers)),
                ]
            ],
        ),
        Stage(
            "mnist-fast train",
            60,
            [
                [
                    *(python, "-m", "mnist_fast", "train", "--device", device, "--output", str(work / "run")),
                    *(training if gpu else ["--arch", "lenet", "--epochs", "1", "--dataset", "digits"]),
                    *("--quiet", "--json"),
                ]
            ],
            output=work / "train.json",
        ),
        *(
            Stage(
                tool,
                60,
                [[*sanitize, "--tool", tool, "--log-file", str(results / f"{tool}.txt"), *small_calls]],
                needs="compute-sanitizer",
            )
            for tool in ("memcheck", "racecheck")
            if gpu
        ),
    ]


def collect(work: Path, outcomes: list[Outcome]) -> dict[str, Any]:
    """What the stages wrote, as far as they came."""
    found: dict[str, Any] = {"environment": None, "stages": [asdict(outcome) for outcome in outcomes], "results": []}
    if (work / "steps.json").exists():
        found |= json.loads((work / "steps.json").read_text())
    if (work / "small_layers.json").exists():
        found["small_layers"] = json.loads((work / "small_layers.json").read_text())
    lines = (work / "train.json").read_text().splitlines() if (work / "train.json").exists() else []
    if lines:
        records = map(json.loads, (work / "run/metrics.jsonl").read_text().splitlines())
        seconds = [record["train_seconds"] for record in records if record["event"] == "epoch"]
        train = {key: value for key, value in json.loads(lines[-1]).items() if "checkpoint" not in key}
        found["train"] = train | {"epoch_seconds": seconds}
    return found


def table(found: dict[str, Any]) -> str:
    """How the stages went, the times of steps, and the fastest epoch."""
    lines = [f"{stage['name']:<40}{stage['seconds']:>7.1f} s  {stage['result']}" for stage in found["stages"]]
    if found["results"]:
        from gpu_steps import table as table_of_steps

        lines += ["", table_of_steps(found["results"])]
    if found.get("small_layers"):
        from gpu_small_layers import table as table_of_small_layers

        lines += ["", table_of_small_layers(found["small_layers"])]
    if train := found.get("train"):
        fastest = 1000 * min(train["epoch_seconds"])
        lines += ["", f"{train['arch']} on {train['dataset']}: {fastest:.1f} ms an epoch, {train['test_accuracy']:.2%}"]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/gpu.sh", description="Everything that wants a GPU.")
    parser.add_argument("directory", nargs="?", type=Path, default=CHECKOUT / "bench/results/new-gpu")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal")
    options = parser.parse_args()
    results = options.directory.resolve()
    results.mkdir(parents=True, exist_ok=True)
    os.environ["MNIST_FAST_CUDA"] = "1"  # without the CUDA kernels the build shall fail
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    os.environ["PATH"] += f":{home}/bin"
    if options.device == "cuda" and shutil.which("nvcc") is None:
        print(f"error: no nvcc on the PATH or in CUDA_HOME={home}; install the CUDA toolkit", file=sys.stderr)
        return 1
    if (CHECKOUT / "data").is_dir():
        os.environ.setdefault("MNIST_FAST_DATA", str(CHECKOUT / "data"))
    with tempfile.TemporaryDirectory() as work:
        todo, seconds = stages(options.device, results, Path(work)), SECONDS
        if options.device == "cpu":  # nobody waits for a rehearsal
            todo, seconds = [replace(stage, seconds=math.inf) for stage in todo], math.inf
        outcomes = run_all(todo, Path(work), seconds)
        found = collect(Path(work), outcomes)
        (results / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
        print(f"\n{table(found)}")
    return 0 if all(outcome.is_fine for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
