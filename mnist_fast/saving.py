"""What a run saves, and how it goes on from that: its weights, and all else that the next steps depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mnist_fast.checkpoint import CheckpointError
from mnist_fast.config import Config
from mnist_fast.data import Dataset
from mnist_fast.devices import environment
from mnist_fast.losses import LossWindow, NonFiniteLossError
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.parallel import Workers
from mnist_fast.progress import Reporter
from mnist_fast.runs import RunDirectory, Weights
from mnist_fast.selection import MEASURES
from mnist_fast.training_state import Counters, changes, random_state, seed_process, set_random_state
from mnist_fast.updating import Updater


@dataclass(frozen=True)
class Saver:
    """The parts of a run in memory, as far as they are saved.

    Attributes:
        model: the network that is trained; ``updater.result`` is the one whose weights people get.
        run: where to; None in processes that help the one that writes, and where nothing is kept.
    """

    config: Config
    dataset: Dataset
    spec: NetworkSpec
    model: nn.Module
    updater: Updater
    window: LossWindow
    steps_per_epoch: int
    device: torch.device
    workers: Workers
    reporter: Reporter
    run: RunDirectory | None

    def save(self, counters: Counters, *, best: bool) -> None:
        """Save the run where it stands; all its processes call this together.

        Args:
            best: its weights are the best so far.

        Raises:
            NonFiniteLossError: a weight is NaN or infinite; nothing was saved.
            OutputError: a file could not be written; the previous one is kept.
        """
        random_states = self.workers.collect(random_state(self.device))
        if self.run is None:
            return
        if not all(tensor.isfinite().all() for tensor in self.model.state_dict().values()):
            raise NonFiniteLossError(
                f"the weights after step {counters.step} are not finite: training stopped, they were not saved; "
                "try a lower --lr"
            )
        weights = Weights(self.spec, self.updater.result.state_dict(), self._details(counters))
        self.run.save(weights, self._state_dict(counters, random_states), best=best)

    def restore(self, state: Mapping[str, Any]) -> Counters:
        """Put the run back to where it stood when ``state`` was saved, and return its counters.

        Raises:
            CheckpointError: it has done more steps than are asked for.
        """
        self.model.load_state_dict(state["model"])
        self.updater.load_state_dict(state)
        self.window.restart(state["window"])
        counters, total_steps = Counters.from_state(state), self.config.epochs * self.steps_per_epoch
        if counters.step > total_steps:
            raise CheckpointError(
                f"the run has done {counters.step} steps already, {total_steps} are asked for; raise --epochs"
            )
        if self.workers.rank < len(state["rng"]):
            set_random_state(state["rng"][self.workers.rank], self.device)
        else:
            seed_process(self.config.seed, self.workers.rank, counters.step)
        self.reporter.note(f"resumed after step {counters.step} of {total_steps}")
        changed = changes(state["environment"], self._environment())
        if changed:
            self.reporter.warn(f"not bit-identical to an uninterrupted run: {'; '.join(changed)}")
        return counters

    def _details(self, counters: Counters) -> dict[str, Any]:
        """What a file of weights tells of the run that they come from."""
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
            record = counters.history[-1]
            details |= {key: record[key] for key in MEASURES if key in record}
        return details

    def _state_dict(self, counters: Counters, random_states: list[dict[str, Tensor]]) -> dict[str, Any]:
        return {
            "dataset": self.dataset.name,
            "spec": asdict(self.spec),
            "model": self.model.state_dict(),
            **self.updater.state_dict(),
            "rng": random_states,
            "window": self.window.values(),
            "environment": self._environment(),
            **asdict(counters),
        }

    def _environment(self) -> dict[str, str]:
        return {**environment(self.device), "processes": str(self.workers.world)}
