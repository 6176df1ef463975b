"""The training loop: one plain loop for every network, from Python or from the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mnist_fast.collector import existing_objects_spared
from mnist_fast.config import Config
from mnist_fast.data import Dataset, num_batches
from mnist_fast.devices import (
    check_precision,
    deterministic_algorithms,
    repeatable_convolutions,
    resolve_device,
    synchronize,
)
from mnist_fast.errors import InterruptedRunError, UsageError
from mnist_fast.evaluation import Evaluation, Predict
from mnist_fast.feeding import Feed
from mnist_fast.finetune import frozen_features, split_frozen
from mnist_fast.losses import LossWindow
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.objective import Objective
from mnist_fast.parallel import ALONE, Workers
from mnist_fast.progress import Reporter
from mnist_fast.recording import Recorded
from mnist_fast.runs import RunDirectory
from mnist_fast.saving import Saver
from mnist_fast.schedules import learning_rate_factor
from mnist_fast.selection import Selection, measures
from mnist_fast.starting_point import starting_point
from mnist_fast.stepping import TrainingStep, recorder_for
from mnist_fast.tensorboard import TensorBoard, check_tensorboard
from mnist_fast.training_state import Counters, seed_process
from mnist_fast.updating import Updater


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        config: its configuration.
        spec: the network and its input normalisation.
        model: the trained network, on its device: the averaged one, where weights were averaged.
        evaluation: of the final weights, on the test images.
        history: one record an epoch: ``epoch``, ``step``, ``train_loss``, ``train_seconds``, and ``accuracy``, ``loss``
            and ``seconds`` with ``val_`` in front where there are validation images, with ``test_`` where there are
            none; the last epoch's always has those of the test images.
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
    workers: Workers = ALONE,
    prepare: Callable[[nn.Module], nn.Module] = lambda model: model,
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
        workers: the processes that train together, each of which calls this; ``run`` is for the first of them.
        prepare: is given the network, on its device, and gives it back as it shall be trained: in another memory
            format, with hooks.

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
        torch.cuda.device(device) if cuda else nullcontext(),
        torch.random.fork_rng([device.index] if cuda else []),
        repeatable_convolutions(),
        deterministic_algorithms(config.deterministic),
        existing_objects_spared(),
    ):
        torch.manual_seed(config.seed)
        trainer = Trainer(config, dataset, device, reporter, run, workers, prepare)
        return trainer.fit(received_signal)


class Trainer:
    """The state of a run in memory, and the loop that advances it. :func:`train` is the way in."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        device: torch.device,
        reporter: Reporter,
        run: RunDirectory | None,
        workers: Workers = ALONE,
        prepare: Callable[[nn.Module], nn.Module] = lambda model: model,
    ) -> None:
        self.config, self.dataset, self.device = config, dataset, device
        self.reporter, self.run, self.workers = reporter, run, workers
        state = workers.from_first(run.load_state() if run else None)
        self.start = starting_point(config, dataset, state)
        self.spec = self.start.spec
        for note in self.start.notes:
            reporter.note(note)
        self.model = prepare(self.start.model.to(device))

        images, labels = dataset.train_images.to(device), dataset.train_labels.to(device)
        self.feed = Feed(config, self.spec, images, labels, workers)
        self.steps_per_epoch = num_batches(self.feed.images_per_epoch, self.feed.images_per_step)
        self.total_steps = config.epochs * self.steps_per_epoch
        if config.warmup_steps >= self.total_steps:
            raise UsageError(f"--warmup-steps {config.warmup_steps}: the whole run has {self.total_steps} steps")
        if config.tensorboard:
            check_tensorboard()
        self.updater = Updater(config, self.model, device, scaled=config.precision == "fp16")
        self.recorder = recorder_for(config, device, workers)
        # A test pass is a few large batches: only on a GPU does starting its kernels take time.
        recorded = self._recorded if self.recorder is not None and device.type == "cuda" else None
        self.selection = Selection(
            dataset, self.spec, config.precision, config.average_views, device, workers, config.patience, recorded
        )
        if config.patience is not None and self.selection.part == "test":
            reporter.note("--patience looks at the test images; --val-fraction 0.1 would hold others out for it")
        # Deferred losses use the optimizers' found_inf, and so does the scaling of losses.
        deferred = device.type == "cuda" and not self.updater.scaled
        self.window = LossWindow(device, self.updater.optimizers, deferred=deferred)
        self.saver = Saver(
            config,
            dataset,
            self.spec,
            self.model,
            self.updater,
            self.window,
            self.steps_per_epoch,
            device,
            workers,
            reporter,
            run,
        )
        self.counters = Counters() if state is None else self.saver.restore(state)
        self.evaluation: Evaluation | None = None  # on the test images, of the final weights
        if state is None and not workers.leads:
            seed_process(config.seed, workers.rank, 0)

    def describe(self) -> str:
        """What :meth:`fit` will do, in one line."""
        config, feed, data = self.config, self.feed, self.dataset
        count = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        validation = f" {len(data.val_labels):,} validation" if len(data.val_labels) else ""
        return (
            f"{config.arch} ({config.backend}, {config.precision}, on {self.device}): {count:,} parameters to train, "
            f"steps {self.counters.step + 1} to {self.total_steps} of {feed.images_per_step} images ({config.epochs} "
            f"epochs of {self.steps_per_epoch}), {config.optimizer}, learning rate {config.lr:g}, {config.schedule} "
            f"schedule; {len(feed.labels):,} training,{validation} and {len(data.test_labels):,} test images of "
            f"{data.name}"
        )

    def fit(self, received_signal: Callable[[], int | None]) -> TrainResult:
        """Train to the end."""
        counters = self.counters
        if self.run is not None:
            self.run.begin(self.config, self.model)
        self.board = TensorBoard(self.run.path, counters.step) if self.run and self.config.tensorboard else None
        self._report_start()
        self._step = TrainingStep(self._objective(), self.updater, self.window, self.recorder, self.reporter.warn)
        while not self._finished():
            self._train_epoch(received_signal)
            self._end_epoch()
            self._leave_on(received_signal)
        if self.evaluation is None:  # the run had ended before it was resumed
            self.evaluation = self.selection.evaluate(self.updater.result, "test")
            self.saver.save(counters, best=False)  # the same again, in place of files that were lost or damaged since
        if self.board is not None:
            self.board.close()
        return TrainResult(
            self.config,
            self.spec,
            self.updater.result,
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
        model = checkpoint.build(fused=self.config.backend == "fused").to(self.device)
        self.counters.start_accuracy = accuracy = self.selection.evaluate(model, "test").accuracy
        self.reporter.note(f"starting point: test accuracy {accuracy:.2%}")

    def _objective(self) -> Objective:
        """The loss of the network, or of what follows frozen layers that see the same images in every epoch."""
        module, start = self.model, time.perf_counter()
        once = self.config.augment == "none" and not self._finished()
        parts = split_frozen(self.model) if once else None
        if parts is not None:
            features = frozen_features(
                parts[0], self.feed.images, mean=self.spec.mean, std=self.spec.std, precision=self.config.precision
            )
            if features is not None:
                module, self.feed = parts[1], replace(self.feed, features=features)
                synchronize(self.device)
                self.counters.seconds += time.perf_counter() - start
        classes = self.spec.num_classes
        return Objective(self.config, module, classes, self.device, self.workers, self.updater.backward)

    def _train_epoch(self, received_signal: Callable[[], int | None]) -> None:
        """The rest of the current epoch, step by step."""
        epoch, done = divmod(self.counters.step, self.steps_per_epoch)
        save_every = self.config.save_every or self.total_steps
        self.model.train()
        self.reporter.start_epoch(epoch + 1, self.config.epochs, done, self.steps_per_epoch)
        clock = time.perf_counter()
        for inputs, targets in self.feed.epoch(epoch, done):
            self._train_step(inputs, targets, self.feed.images_in(done))
            done += 1
            self.reporter.advance(done)
            if done % self.config.log_every == 0 or done == self.steps_per_epoch:
                self._close_window(epoch, done)
            due = self.counters.step % save_every == 0
            if done < self.steps_per_epoch and (due or self._signal(received_signal) is not None):
                self.window.values()
                self._add_seconds(clock)
                self.saver.save(self.counters, best=False)
                self._leave_on(received_signal)
                clock = time.perf_counter()
        self._add_seconds(clock)

    def _train_step(self, inputs: Tensor, targets: Tensor, count: int) -> None:
        """One step on ``count`` images, of which these are the share of this process."""
        self.window.step = self.counters.step + 1
        self.updater.set_rates(self._learning_rate_factor(self.counters.step))
        self.window.add(self._step(inputs, targets, count))
        self.updater.average()
        self.counters.step += 1
        self.counters.images_seen += count

    def _recorded(self, function: Predict) -> Predict:
        assert self.recorder is not None
        return Recorded(function, self.recorder, self.reporter.warn)

    def _learning_rate_factor(self, step: int) -> float:
        config = self.config
        return learning_rate_factor(
            config.schedule,
            step,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            warmup_steps=config.warmup_steps,
        )

    def _add_seconds(self, clock: float) -> None:
        synchronize(self.device)
        seconds = time.perf_counter() - clock
        self.counters.seconds += seconds
        self.counters.epoch_seconds += seconds

    def _close_window(self, epoch: int, batch: int) -> None:
        losses = self.window.values()
        self.counters.epoch_loss += sum(losses)
        record = {
            "event": "loss",
            "epoch": epoch + 1,
            "batch": batch,
            "step": self.counters.step,
            "loss": sum(losses) / len(losses),
            "lr": self.config.lr * self._learning_rate_factor(self.counters.step - 1),
        }
        self.window.restart()
        self.reporter.loss(record)
        self._record(record)

    def _end_epoch(self) -> None:
        counters, selection, part = self.counters, self.selection, self.selection.part
        check = selection.evaluate(self.updater.result, part)
        record = {
            "event": "epoch",
            "epoch": counters.step // self.steps_per_epoch,
            "step": counters.step,
            **measures(part, check),
            "train_loss": counters.epoch_loss / self.steps_per_epoch,
            "train_seconds": counters.epoch_seconds,
        }
        counters.history.append(record)
        counters.epoch_loss, counters.epoch_seconds = 0.0, 0.0
        if self._finished():
            self.evaluation = check if part == "test" else selection.evaluate(self.updater.result, "test")
            record.update(measures("test", self.evaluation))
        self.reporter.end_epoch(record)
        if self._finished() and counters.step < self.total_steps:
            self.reporter.note(f"stopped: no better {part} accuracy in {self.config.patience} epochs")
        self._record(record)
        self.saver.save(counters, best=selection.last_is_best(counters.history))

    def _finished(self) -> bool:
        """Whether all steps are done, or the patience is at its end."""
        return self.counters.step == self.total_steps or self.selection.out_of_patience(self.counters.history)

    def _signal(self, received_signal: Callable[[], int | None]) -> int | None:
        """A signal that any of the processes received, so that all leave after the same step."""
        return self.workers.largest(received_signal() or 0, self.device) or None

    def _leave_on(self, received_signal: Callable[[], int | None]) -> None:
        number, step = self._signal(received_signal), self.counters.step
        if number is None or self._finished():
            return
        saved = f"; continue it with --resume --output {self.run.path}" if self.run else ""
        raise InterruptedRunError(f"interrupted after step {step} of {self.total_steps}{saved}", number)

    def _record(self, record: dict[str, Any]) -> None:
        if self.run is not None:
            self.run.append_metrics(record)
        if self.board is not None:
            self.board.add(record)
