"""The training loop: one plain loop for every network, from Python or from the command line."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mnist_fast.checkpoint import CheckpointError, load_checkpoint
from mnist_fast.config import Config
from mnist_fast.data import Dataset, batches, epoch_order, num_batches
from mnist_fast.devices import autocast, check_precision, environment, resolve_device, synchronize
from mnist_fast.errors import InterruptedRunError, MnistFastError
from mnist_fast.evaluation import Evaluation, evaluate
from mnist_fast.finetune import finetuned_spec, freeze, frozen_features, load_backbone, split_frozen
from mnist_fast.losses import CrossEntropy, LossWindow, NonFiniteLossError
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.optim import build_optimizers, clear_gradients, step
from mnist_fast.progress import Reporter
from mnist_fast.runs import RunDirectory, Weights
from mnist_fast.schedules import learning_rate_factor


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        config: its configuration.
        spec: the network and its input normalisation.
        model: the trained network, on its device.
        evaluation: of the final weights, on the test images.
        history: one record an epoch: ``epoch``, ``step``, ``test_accuracy``, ``test_loss``, ``train_loss``,
            ``train_seconds``, ``test_seconds``.
        start_accuracy: fine-tuning only: test accuracy of the checkpoint it started from.
        train_seconds: wall-clock time of all training steps: batches, forward, backward, optimizer. Loading, tests and
            saving are not in it; compilation, where asked for, is.
        images: training images seen, with repetition.
    """

    config: Config
    spec: NetworkSpec
    model: nn.Module
    evaluation: Evaluation
    history: list[dict[str, Any]]
    start_accuracy: float | None
    train_seconds: float
    images: int


def train(
    config: Config,
    dataset: Dataset,
    *,
    run: RunDirectory | None = None,
    reporter: Reporter | None = None,
    received_signal: Callable[[], int | None] = lambda: None,
) -> TrainResult:
    """Train as ``config`` says, on images that are in memory.

    The same configuration and data give the same parameters bit by bit on the same machine. The caller's random
    state is left as it was.

    Args:
        config: what to train and how; ``config.dataset`` and ``data_dir`` are not looked at.
        dataset: the images.
        run: where checkpoints and metrics go, entered; a run that is there is continued bit by bit. None: nowhere.
        reporter: told of the progress. None: silent.
        received_signal: asked after every step; a signal's number ends the run once its state is saved.

    Raises:
        UsageError: a device or precision this machine does not have; options that do not fit the data.
        NonFiniteLossError: the loss became NaN or infinite; checkpoints of before are kept.
        InterruptedRunError: ``received_signal`` gave a number.
        CheckpointError: the checkpoint to start or resume from is damaged.
        OutputError: a file could not be written; the previous one is kept.
    """
    device = resolve_device(config.device)
    check_precision(config.precision, device)
    reporter = reporter or Reporter(quiet=True)
    cuda = device.type == "cuda"
    with (
        torch.random.fork_rng([device.index] if cuda else []),
        torch.backends.cudnn.flags(enabled=True, deterministic=True) if cuda else nullcontext(),
    ):
        torch.manual_seed(config.seed)
        trainer = Trainer(config, dataset, device, reporter, run)
        return trainer.fit(received_signal)


class Trainer:
    """The state of a run in memory, and the loop that advances it. :func:`train` is the way in."""

    def __init__(
        self, config: Config, dataset: Dataset, device: torch.device, reporter: Reporter, run: RunDirectory | None
    ) -> None:
        self.config, self.dataset, self.device, self.reporter, self.run = config, dataset, device, reporter, run
        self.images, self.labels = dataset.train_images.to(device), dataset.train_labels.to(device)
        self.test_images, self.test_labels = dataset.test_images.to(device), dataset.test_labels.to(device)
        self.steps_per_epoch = num_batches(len(self.images), config.batch_size, limit=config.images_per_epoch)
        self.total_steps = config.epochs * self.steps_per_epoch

        # Where the run stands.
        self.step = 0
        self.epoch_loss = 0.0  # sum over the closed windows of the current epoch
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0  # training, all epochs
        self.epoch_seconds = 0.0
        self.images_seen = 0
        self.start_accuracy: float | None = None
        self.evaluation: Evaluation | None = None

        state = run.load_state() if run else None
        self.spec, model = self._build(state)
        freeze(model, config.freeze)
        self.model = model.to(device)
        self.loss = CrossEntropy(self.spec.num_classes, config.label_smoothing, device)
        self.optimizers = build_optimizers(config, self.model)
        # float16 gradients underflow without it. Its use of found_inf excludes ours.
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        deferred = device.type == "cuda" and not self.scaler.is_enabled()
        self.window = LossWindow(device, self.optimizers, deferred=deferred)
        if state is not None:
            self._load_state_dict(state)

    def describe(self) -> str:
        """What :meth:`fit` will do, in one line."""
        config = self.config
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        count = sum(parameter.numel() for parameter in parameters)
        return (
            f"{config.arch} ({config.backend}, {config.precision}, on {self.device}): {count:,} parameters to train, "
            f"steps {self.step + 1} to {self.total_steps} of {config.batch_size} images ({config.epochs} epochs of "
            f"{self.steps_per_epoch}), {config.optimizer}, learning rate {config.lr:g}, {config.schedule} schedule; "
            f"{len(self.images):,} training and {len(self.test_images):,} test images of {self.dataset.name}"
        )

    def fit(self, received_signal: Callable[[], int | None]) -> TrainResult:
        """Train to the end."""
        if self.run is not None:
            self.run.write_config(self.config)
            self.run.truncate_metrics(self.step)
        if self.config.checkpoint is not None and self.start_accuracy is None and self.step == 0:
            self._report_start()
        self._use_frozen_features()
        while self.step < self.total_steps:
            self._train_epoch(received_signal)
            self._end_epoch()
            self._leave_on(received_signal())
        if self.evaluation is None:  # the run had ended before it was resumed
            self.evaluation = self._evaluate()
        return TrainResult(
            self.config,
            self.spec,
            self.model,
            self.evaluation,
            self.history,
            self.start_accuracy,
            self.seconds,
            self.images_seen,
        )

    def _build(self, state: dict[str, Any] | None) -> tuple[NetworkSpec, nn.Module]:
        config, fused = self.config, self.config.backend == "fused"
        if state is not None:
            if state["dataset"] != self.dataset.name:
                raise CheckpointError(f"the run was trained on {state['dataset']}, the data is now {self.dataset.name}")
            spec = NetworkSpec(**state["spec"])
            return spec, spec.build(fused=fused)
        if config.checkpoint is not None:
            checkpoint = load_checkpoint(config.checkpoint, arch=config.arch)
            spec = finetuned_spec(checkpoint, config, self.dataset)
            model = spec.build(fused=fused)
            load_backbone(model, checkpoint, head=config.head)
            self._initial = checkpoint
            return spec, model
        mean, std = (self.dataset.mean, self.dataset.std) if config.normalize == "dataset" else (0.0, 1.0)
        spec = NetworkSpec(config.arch, len(self.dataset.classes), mean, std)
        return spec, spec.build(fused=fused)

    def _report_start(self) -> None:
        """What the checkpoint achieves before anything changes, where its classes are those of the data."""
        if self._initial.spec.num_classes == self.spec.num_classes:
            model = self._initial.build(fused=self.config.backend == "fused").to(self.device)
            self.start_accuracy = self._evaluate(model).accuracy
            self.reporter.note(f"starting point: test accuracy {self.start_accuracy:.2%}")

    def _use_frozen_features(self) -> None:
        """Compute a frozen backbone's features once, if nothing random precedes the head; else train on the images."""
        self.forward: Callable[[Tensor], Tensor] = self.model
        self.features: Tensor | None = None
        start = time.perf_counter()
        parts = split_frozen(self.model) if self.step < self.total_steps else None
        if parts is not None:
            spec = self.spec
            self.features = frozen_features(
                parts[0], self.images, mean=spec.mean, std=spec.std, precision=self.config.precision
            )
            if self.features is not None:
                self.forward = parts[1]
                synchronize(self.device)
                self.seconds += time.perf_counter() - start
        if self.config.compile:
            self.forward = torch.compile(self.forward)

    def _batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        config = self.config
        if self.features is None:
            return batches(
                self.images,
                self.labels,
                config.batch_size,
                mean=self.spec.mean,
                std=self.spec.std,
                seed=config.seed,
                epoch=epoch,
                start=start,
                limit=config.images_per_epoch,
            )
        order = epoch_order(len(self.labels), config.seed, epoch)[: config.images_per_epoch].to(self.device)
        chosen = order.split(config.batch_size)[start:]
        features, labels = self.features, self.labels
        return ((features.index_select(0, indices), labels.index_select(0, indices)) for indices in chosen)

    def _train_epoch(self, received_signal: Callable[[], int | None]) -> None:
        """The rest of the current epoch, step by step."""
        epoch, done = divmod(self.step, self.steps_per_epoch)
        self.model.train()
        self.reporter.start_epoch(epoch + 1, self.config.epochs, done, self.steps_per_epoch)
        clock = time.perf_counter()
        for inputs, targets in self._batches(epoch, done):
            self._train_step(inputs, targets)
            done += 1
            self.reporter.advance(done)
            if done % self.config.log_every == 0 or done == self.steps_per_epoch:
                self._close_window(epoch, done)
            if done < self.steps_per_epoch and received_signal() is not None:
                self.window.values(self.step)
                self._add_seconds(clock)
                self._save(best=False)
                self._leave_on(received_signal())
        self._add_seconds(clock)

    def _train_step(self, inputs: Tensor, targets: Tensor) -> None:
        config = self.config
        factor = learning_rate_factor(
            config.schedule, self.step, total_steps=self.total_steps, steps_per_epoch=self.steps_per_epoch
        )
        with autocast(config.precision, self.device):
            outputs = self._forward(inputs)
        loss = self.loss(outputs.float(), targets)
        self.window.add(loss, self.step + 1)
        clear_gradients(self.optimizers)
        self.scaler.scale(loss).backward()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        if self.scaler.is_enabled():
            for optimizer in self.optimizers:
                self.scaler.step(optimizer)
            self.scaler.update()
        else:
            step(self.optimizers)
        self.step += 1
        self.images_seen += len(targets)

    def _forward(self, inputs: Tensor) -> Tensor:
        if not self.config.compile:
            return self.forward(inputs)
        try:
            return self.forward(inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise MnistFastError(f"--compile failed on this machine ({reason[:200]}); leave it out") from None

    def _add_seconds(self, clock: float) -> None:
        synchronize(self.device)
        seconds = time.perf_counter() - clock
        self.seconds += seconds
        self.epoch_seconds += seconds

    def _close_window(self, epoch: int, batch: int) -> None:
        losses = self.window.values(self.step)
        self.epoch_loss += sum(losses)
        learning_rate = self.optimizers[0].param_groups[0]["lr"]
        record = {
            "event": "loss",
            "epoch": epoch + 1,
            "batch": batch,
            "step": self.step,
            "loss": sum(losses) / len(losses),
            "lr": learning_rate,
        }
        self.window.restart()
        self.reporter.loss(record)
        if self.run is not None:
            self.run.append_metrics(record)

    def _end_epoch(self) -> None:
        self.evaluation = evaluation = self._evaluate()
        if not math.isfinite(evaluation.loss):
            raise NonFiniteLossError(
                f"the test loss after step {self.step} is {evaluation.loss}: training stopped, nothing was saved; "
                "try a lower --lr"
            )
        best = all(evaluation.accuracy > record["test_accuracy"] for record in self.history)
        record = {
            "event": "epoch",
            "epoch": self.step // self.steps_per_epoch,
            "step": self.step,
            "test_accuracy": evaluation.accuracy,
            "test_loss": evaluation.loss,
            "train_loss": self.epoch_loss / self.steps_per_epoch,
            "train_seconds": self.epoch_seconds,
            "test_seconds": evaluation.seconds,
        }
        self.history.append(record)
        self.epoch_loss, self.epoch_seconds = 0.0, 0.0
        self.reporter.end_epoch(record)
        if self.run is not None:
            self.run.append_metrics(record)
        self._save(best=best)

    def _evaluate(self, model: nn.Module | None = None) -> Evaluation:
        spec = self.spec
        return evaluate(
            model or self.model,
            self.test_images,
            self.test_labels,
            mean=spec.mean,
            std=spec.std,
            precision=self.config.precision,
        )

    def _leave_on(self, signal_number: int | None) -> None:
        if signal_number is None or self.step == self.total_steps:
            return
        saved = f"; continue it with --resume --output {self.run.path}" if self.run else ""
        raise InterruptedRunError(f"interrupted after step {self.step} of {self.total_steps}{saved}", signal_number)

    def _save(self, *, best: bool) -> None:
        if self.run is None:
            return
        details = {
            "dataset": self.dataset.name,
            "classes": list(self.dataset.classes),
            "step": self.step,
            "epochs": self.step // self.steps_per_epoch,
            "seed": self.config.seed,
            "train_seconds": self.seconds,
            "config": asdict(self.config),
        }
        if self.step % self.steps_per_epoch == 0:
            details["test_accuracy"] = self.history[-1]["test_accuracy"]
            details["test_loss"] = self.history[-1]["test_loss"]
        weights = Weights(self.spec, self.model.state_dict(), details)
        self.run.save(weights, self._state_dict(), best=best)

    def _state_dict(self) -> dict[str, Any]:
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "dataset": self.dataset.name,
            "spec": asdict(self.spec),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self.scaler.state_dict(),
            "rng": rng,
            "step": self.step,
            "window": self.window.values(self.step),
            "epoch_loss": self.epoch_loss,
            "epoch_seconds": self.epoch_seconds,
            "seconds": self.seconds,
            "images_seen": self.images_seen,
            "start_accuracy": self.start_accuracy,
            "history": self.history,
            "environment": environment(self.device),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"]["cpu"])
        if self.device.type == "cuda" and "cuda" in state["rng"]:
            torch.cuda.set_rng_state(state["rng"]["cuda"], self.device)
        self.step = state["step"]
        self.window.restart(state["window"])
        self.epoch_loss, self.epoch_seconds = state["epoch_loss"], state["epoch_seconds"]
        self.seconds, self.images_seen = state["seconds"], state["images_seen"]
        self.start_accuracy = state["start_accuracy"]
        self.history = copy.deepcopy(state["history"])
        now = environment(self.device)
        then = state["environment"]
        changed = [f"{key} {then.get(key)} there, {now[key]} now" for key in now if then.get(key) != now[key]]
        self.reporter.note(f"resumed after step {self.step} of {self.total_steps}")
        if changed:
            self.reporter.note(f"not bit-identical to an uninterrupted run: {'; '.join(changed)}")
