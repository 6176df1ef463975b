"""What a run leaves on the disk: its directory, with checkpoints, states to go on from, metrics and environment."""

from mnist_fast.runs.directory import RunDirectory, Weights, default_output, has_run, newest_run

__all__ = ["RunDirectory", "Weights", "default_output", "has_run", "newest_run"]
