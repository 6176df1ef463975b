"""What the commands ``train``, ``finetune`` and ``eval`` do, from their options to a result that can be printed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mnist_fast.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from mnist_fast.config import Config, changed_on_resume, make_config, read_toml
from mnist_fast.data import Dataset, load_dataset
from mnist_fast.devices import check_precision, kernels_in_use, resolve_device
from mnist_fast.errors import TargetMissedError, UsageError
from mnist_fast.evaluation import Evaluation, evaluate
from mnist_fast.metrics import classification_report
from mnist_fast.parallel import joined
from mnist_fast.progress import Reporter
from mnist_fast.recipes import FINETUNE_RECIPE, RECIPES
from mnist_fast.runs import RunDirectory, default_output
from mnist_fast.signals import GracefulExit
from mnist_fast.training import Trainer, TrainResult, train

_FEW_IMAGES = 10_000


def resolve_config(
    options: Mapping[str, Any],
    *,
    config_file: str | Path | None = None,
    output: str | Path | None = None,
    resume: bool = False,
) -> Config:
    """The configuration of a training or, with a ``checkpoint`` among the options, a fine-tuning run.

    Later ones win: the recipe; with ``resume`` the run in ``output``, if there is one; ``config_file``; ``options``.

    Raises:
        UsageError: values that are wrong.
        CheckpointError: the run to resume has other values; the checkpoint to fine-tune is missing or damaged.
    """
    stored = RunDirectory(output).read_config() if resume and output is not None else {}
    file = read_toml(config_file) if config_file is not None else {}
    given = {**stored, **file, **{key: value for key, value in options.items() if value is not None}}
    if options.get("checkpoint") is None and "checkpoint" in given:
        raise UsageError("this is the configuration of a fine-tuning run; use mnist-fast finetune")
    asked = options.get("recipe")
    if asked is not None and file.get("recipe", asked) != asked:
        raise UsageError(f"{config_file} follows the recipe {file['recipe']}, not {asked}; leave one of them out")
    if stored and given.get("dataset") == "auto":
        given["dataset"] = stored["dataset"]
    recipe = None
    if "checkpoint" in given and not stored:
        arch = load_checkpoint(given["checkpoint"], arch=given.get("arch")).spec.arch
        given["arch"], recipe = arch, replace(FINETUNE_RECIPE, normalize=RECIPES[arch].normalize)
    config = make_config(given, recipe=recipe)
    if stored:
        changes = changed_on_resume(make_config(stored), config)
        if changes:
            raise CheckpointError(
                f"cannot resume {output} with other options: {'; '.join(changes)}; choose another --output"
            )
    return config


@dataclass(frozen=True)
class Session:
    """A finished training run, its data and its directory; None in processes that help the one that writes."""

    result: TrainResult
    dataset: Dataset
    run: RunDirectory | None

    def summary(self, command: str) -> dict[str, Any]:
        """The run in plain JSON values; of the process that has its directory."""
        assert self.run is not None
        result, config = self.result, self.result.config
        last, part = result.history[-1], "val" if "val_accuracy" in result.history[-1] else "test"
        return {
            "command": command,
            "arch": config.arch,
            "recipe": config.recipe,
            "dataset": self.dataset.name,
            "device": str(next(result.model.parameters()).device),
            "backend": config.backend,
            "kernels": _kernels(config.backend, next(result.model.parameters()).device),
            "precision": config.precision,
            "seed": config.seed,
            "epochs": config.epochs,
            "test_accuracy": result.evaluation.accuracy,
            "test_loss": result.evaluation.loss,
            "train_seconds": result.train_seconds,
            "images_per_second": result.images / result.train_seconds,
            "checkpoint": str(self.run.last),
            "val_accuracy": last.get("val_accuracy"),
            "val_loss": last.get("val_loss"),
            "best_accuracy": max(record[f"{part}_accuracy"] for record in result.history),
            "best_checkpoint": str(self.run.best),
            "start_accuracy": result.start_accuracy,
            "test_seconds": result.evaluation.seconds,
            "macro": _report(result.evaluation, self.dataset)["macro"],
        }

    def check_target(self) -> None:
        """Raises TargetMissedError where the final test accuracy is below the configured target."""
        target, accuracy = self.result.config.target_acc, self.result.evaluation.accuracy
        if target is not None and accuracy < target:
            raise TargetMissedError(f"test accuracy {accuracy:.4f} is below the target {target:g}")


def run_training(
    config: Config, *, output: str | Path | None = None, resume: bool = False, reporter: Reporter
) -> Session:
    """Train or fine-tune into a run directory, which is checked before anything else; see :func:`train` for errors.

    Under ``torchrun`` every process calls this; the first has the directory and the ``reporter``.
    """
    with joined(config.device) as workers, ExitStack() as stack:
        device = resolve_device(config.device)
        check_precision(config.precision, device)
        run = None
        if workers.leads:
            _note_missing_kernels(config.backend, device, reporter)
            run = stack.enter_context(
                RunDirectory(output or default_output(config.arch), resume=resume, warn=reporter.warn)
            )
            dataset = _load(config, reporter)
            if config.dataset == "auto":  # config.toml repeats the run, whatever data is here then
                config = replace(config, dataset=dataset.name)
            reporter.note(f"output: {run.path}")
            if len(dataset.train_images) < _FEW_IMAGES:
                reporter.note(
                    f"{dataset.name} has {len(dataset.train_images):,} training images and the recipes are meant for "
                    "60,000: more --epochs will help"
                )
        config = workers.from_first(config)
        if not workers.leads:  # what the first had to download is there now
            reporter = Reporter(quiet=True)
            dataset = _load(config, reporter)
        signals = stack.enter_context(GracefulExit())
        stack.enter_context(reporter)
        result = train(
            config, dataset, run=run, reporter=reporter, received_signal=lambda: signals.received, workers=workers
        )
        return Session(result, dataset, run)


def dry_run(config: Config, *, output: str | Path | None = None, resume: bool = False, reporter: Reporter) -> str:
    """Check and build all that :func:`run_training` would, train nothing, leave no trace; say what would be done."""
    device = resolve_device(config.device)
    check_precision(config.precision, device)
    with RunDirectory(output or default_output(config.arch), resume=resume, warn=reporter.warn) as run:
        dataset = _load(config, reporter)
        with torch.random.fork_rng([]):
            plan = Trainer(config, dataset, device, reporter, run).describe()
        return f"{plan}; output: {run.path}"


@dataclass(frozen=True)
class EvalSession:
    """An evaluated checkpoint."""

    checkpoint: Checkpoint
    dataset: Dataset
    evaluation: Evaluation
    device: torch.device
    backend: str
    precision: str

    def summary(self) -> dict[str, Any]:
        """The evaluation in plain JSON values; what only its training run knows is None for a foreign state_dict."""
        details, report = self.checkpoint.details, _report(self.evaluation, self.dataset)
        return {
            "command": "eval",
            "arch": self.checkpoint.spec.arch,
            "dataset": self.dataset.name,
            "device": str(self.device),
            "backend": self.backend,
            "kernels": _kernels(self.backend, self.device),
            "precision": self.precision,
            "seed": details.get("seed"),
            "epochs": details.get("epochs"),
            "test_accuracy": self.evaluation.accuracy,
            "test_loss": self.evaluation.loss,
            "train_seconds": details.get("train_seconds"),
            "images_per_second": len(self.dataset.test_labels) / self.evaluation.seconds,
            "checkpoint": str(self.checkpoint.path),
            "test_seconds": self.evaluation.seconds,
            **{key: report[key] for key in ("macro", "per_class", "confusion_matrix")},
        }


def run_evaluation(
    checkpoint: str | Path,
    *,
    arch: str | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    offline: bool = False,
    device: str = "auto",
    backend: str = "fused",
    precision: str = "fp32",
    average_views: bool | None = None,
    reporter: Reporter,
) -> EvalSession:
    """Evaluate a checkpoint on the test images of ``dataset``; None: of the one it was trained on, else ``auto``.

    ``average_views``: as in :func:`mnist_fast.evaluation.evaluate`; None: as in training.
    """
    target = resolve_device(device)
    check_precision(precision, target)
    _note_missing_kernels(backend, target, reporter)
    loaded = load_checkpoint(checkpoint, arch=arch)
    if loaded.note:
        reporter.note(f"{loaded.path}: {loaded.note}")
    name = dataset or loaded.details.get("dataset", "auto")
    data = load_dataset(name, data_dir, offline=offline, progress=reporter.note)
    reporter.note(data.source)
    spec = loaded.spec
    if spec.num_classes != len(data.classes):
        raise UsageError(
            f"{loaded.path} tells {spec.num_classes} classes apart and {data.name} has {len(data.classes)}"
        )
    model = loaded.build(fused=backend == "fused").to(target)
    images, labels = data.test_images.to(target), data.test_labels.to(target)
    if average_views is None:
        average_views = loaded.details.get("config", {}).get("average_views", False)
    evaluation = evaluate(
        model, images, labels, mean=spec.mean, std=spec.std, precision=precision, average_views=average_views
    )
    return EvalSession(loaded, data, evaluation, target, backend, precision)


def _kernels(backend: str, device: torch.device) -> str:
    """The instruction set of the kernels that a run used, or ``stock``."""
    return kernels_in_use(device)[0] if backend == "fused" else "stock"


def _note_missing_kernels(backend: str, device: torch.device, reporter: Reporter) -> None:
    kernels, reason = kernels_in_use(device)
    if backend == "fused" and kernels == "stock":
        reporter.note(f"the fused blocks run through stock operators: {reason}")


def _load(config: Config, reporter: Reporter) -> Dataset:
    dataset = load_dataset(config.dataset, config.data_dir, offline=config.offline, progress=reporter.note)
    dataset = dataset.with_validation(config.val_fraction, config.seed)
    reporter.note(dataset.source)
    return dataset


def _report(evaluation: Evaluation, dataset: Dataset) -> dict[str, Any]:
    return classification_report(dataset.test_labels, evaluation.predictions, len(dataset.classes))
