"""The training loop: one plain loop for every network, from Python or from the command line."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mnist_fast.checkpoint import CheckpointError
from mnist_fast.config import Config
from mnist_fast.data import Dataset, batches, epoch_order, num_batches
from mnist_fast.devices import autocast, check_precision, environment, resolve_device, synchronize
from mnist_fast.errors import InterruptedRunError, MnistFastError
from mnist_fast.evaluation import Evaluation, evaluate
from mnist_fast.finetune import frozen_features, split_frozen
from mnist_fast.losses import CrossEntropy, LossWindow, NonFiniteLossError
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.optim import build_optimizers, clear_gradients, step
from mnist_fast.progress import Reporter
from mnist_fast.runs import RunDirectory, Weights
from mnist_fast.schedules import learning_rate_factor
from mnist_fast.starting_point import starting_point
from mnist_fast.training_state import Counters, environment_changes, random_state, set_random_state


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

        state = run.load_state() if run else None
        self.start = starting_point(config, dataset, state)
        self.spec = self.start.spec
        self.model = self.start.model.to(device)
        self.loss = CrossEntropy(self.spec.num_classes, config.label_smoothing, device)
        self.optimizers = build_optimizers(config, self.model)
        # float16 gradients underflow without it. Its use of found_inf excludes ours.
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        deferred = device.type == "cuda" and not self.scaler.is_enabled()
        self.window = LossWindow(device, self.optimizers, deferred=deferred)
        self.counters = Counters()
        self.evaluation: Evaluation | None = None
        if state is not None:
            self._load_state_dict(state)

    def describe(self) -> str:
        """What :meth:`fit` will do, in one line."""
        config = self.config
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        count = sum(parameter.numel() for parameter in parameters)
        return (
            f"{config.arch} ({config.backend}, {config.precision}, on {self.device}): {count:,} parameters to train, "
            f"steps {self.counters.step + 1} to {self.total_steps} of {config.batch_size} images ({config.epochs} "
            f"epochs of {self.steps_per_epoch}), {config.optimizer}, learning rate {config.lr:g}, {config.schedule} "
            f"schedule; {len(self.images):,} training and {len(self.test_images):,} test images of {self.dataset.name}"
        )

    def fit(self, received_signal: Callable[[], int | None]) -> TrainResult:
        """Train to the end."""
        counters = self.counters
        if self.run is not None:
            self.run.begin(self.config, self.model)
        self._report_start()
        self._use_frozen_features()
        while counters.step < self.total_steps:
            self._train_epoch(received_signal)
            self._end_epoch()
            self._leave_on(received_signal())
        if self.evaluation is None:  # the run had ended before it was resumed
            self.evaluation = self._evaluate()
            self._save(best=False)  # the same again, in place of files that were lost or damaged since
        return TrainResult(
            self.config,
            self.spec,
            self.model,
            self.evaluation,
            counters.history,
            counters.start_accuracy,
            counters.seconds,
            counters.images_seen,
        )

    def _report_start(self) -> None:
        """What a checkpoint achieves before anything changes, where its classes are those of the data."""
        checkpoint = self.start.checkpoint
        if checkpoint is None or checkpoint.spec.num_classes != self.spec.num_classes:
            return
        accuracy = self._evaluate(checkpoint.build(fused=self.config.backend == "fused").to(self.device)).accuracy
        self.counters.start_accuracy = accuracy
        self.reporter.note(f"starting point: test accuracy {accuracy:.2%}")

    def _use_frozen_features(self) -> None:
        """Compute a frozen backbone's features once, if nothing random precedes the head; else train on the images."""
        self.forward: Callable[[Tensor], Tensor] = self.model
        self.features: Tensor | None = None
        start = time.perf_counter()
        parts = split_frozen(self.model) if self.counters.step < self.total_steps else None
        if parts is not None:
            spec = self.spec
            self.features = frozen_features(
                parts[0], self.images, mean=spec.mean, std=spec.std, precision=self.config.precision
            )
            if self.features is not None:
                self.forward = parts[1]
                synchronize(self.device)
                self.counters.seconds += time.perf_counter() - start
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
        epoch, done = divmod(self.counters.step, self.steps_per_epoch)
        save_every = self.config.save_every or self.total_steps
        self.model.train()
        self.reporter.start_epoch(epoch + 1, self.config.epochs, done, self.steps_per_epoch)
        clock = time.perf_counter()
        for inputs, targets in self._batches(epoch, done):
            self._train_step(inputs, targets)
            done += 1
            self.reporter.advance(done)
            if done % self.config.log_every == 0 or done == self.steps_per_epoch:
                self._close_window(epoch, done)
            due = self.counters.step % save_every == 0
            if done < self.steps_per_epoch and (due or received_signal() is not None):
                self.window.values(self.counters.step)
                self._add_seconds(clock)
                self._save(best=False)
                self._leave_on(received_signal())
                clock = time.perf_counter()
        self._add_seconds(clock)

    def _train_step(self, inputs: Tensor, targets: Tensor) -> None:
        config, counters = self.config, self.counters
        factor = learning_rate_factor(
            config.schedule, counters.step, total_steps=self.total_steps, steps_per_epoch=self.steps_per_epoch
        )
        with autocast(config.precision, self.device):
            outputs = self._forward(inputs)
        loss = self.loss(outputs.float(), targets)
        self.window.add(loss, counters.step + 1)
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
        counters.step += 1
        counters.images_seen += len(targets)

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
        self.counters.seconds += seconds
        self.counters.epoch_seconds += seconds

    def _close_window(self, epoch: int, batch: int) -> None:
        losses = self.window.values(self.counters.step)
        self.counters.epoch_loss += sum(losses)
        learning_rate = self.optimizers[0].param_groups[0]["lr"]
        record = {
            "event": "loss",
            "epoch": epoch + 1,
            "batch": batch,
            "step": self.counters.step,
            "loss": sum(losses) / len(losses),
            "lr": learning_rate,
        }
        self.window.restart()
        self.reporter.loss(record)
        if self.run is not None:
            self.run.append_metrics(record)

    def _end_epoch(self) -> None:
        counters = self.counters
        self.evaluation = evaluation = self._evaluate()
        if not math.isfinite(evaluation.loss):
            raise NonFiniteLossError(
                f"the test loss after step {counters.step} is {evaluation.loss}: training stopped, nothing was saved; "
                "try a lower --lr"
            )
        best = all(evaluation.accuracy > record["test_accuracy"] for record in counters.history)
        record = {
            "event": "epoch",
            "epoch": counters.step // self.steps_per_epoch,
            "step": counters.step,
            "test_accuracy": evaluation.accuracy,
            "test_loss": evaluation.loss,
            "train_loss": counters.epoch_loss / self.steps_per_epoch,
            "train_seconds": counters.epoch_seconds,
            "test_seconds": evaluation.seconds,
        }
        counters.history.append(record)
        counters.epoch_loss, counters.epoch_seconds = 0.0, 0.0
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
        step = self.counters.step
        if signal_number is None or step == self.total_steps:
            return
        saved = f"; continue it with --resume --output {self.run.path}" if self.run else ""
        raise InterruptedRunError(f"interrupted after step {step} of {self.total_steps}{saved}", signal_number)

    def _save(self, *, best: bool) -> None:
        if self.run is None:
            return
        counters = self.counters
        if not all(tensor.isfinite().all() for tensor in self.model.state_dict().values()):
            raise NonFiniteLossError(
                f"the weights after step {counters.step} are not finite: training stopped, they were not saved; "
                "try a lower --lr"
            )
        details = {
            "dataset": self.dataset.name,
            "classes": list(self.dataset.classes),
            "step": counters.step,
            "epochs": counters.step // self.steps_per_epoch,
            "seed": self.config.seed,
            "train_seconds": counters.seconds,
            "config": asdict(self.config),
        }
        if counters.step % self.steps_per_epoch == 0:
            details["test_accuracy"] = counters.history[-1]["test_accuracy"]
            details["test_loss"] = counters.history[-1]["test_loss"]
        weights = Weights(self.spec, self.model.state_dict(), details)
        self.run.save(weights, self._state_dict(), best=best)

    def _state_dict(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset.name,
            "spec": asdict(self.spec),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self.scaler.state_dict(),
            "rng": random_state(self.device),
            "window": self.window.values(self.counters.step),
            "environment": environment(self.device),
            **asdict(self.counters),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.scaler.load_state_dict(state["scaler"])
        set_random_state(state["rng"], self.device)
        self.window.restart(state["window"])
        self.counters = Counters.from_state(state)
        if self.counters.step > self.total_steps:
            raise CheckpointError(
                f"the run has done {self.counters.step} steps already, {self.total_steps} are asked for; raise --epochs"
            )
        self.reporter.note(f"resumed after step {self.counters.step} of {self.total_steps}")
        changed = environment_changes(state["environment"], self.device)
        if changed:
            self.reporter.warn(f"not bit-identical to an uninterrupted run: {'; '.join(changed)}")
