"""The memory of a process that trains for long stays as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EPOCHS = 50
# What the process may grow by from the tenth epoch to the last, in KiB. A batch that is kept in each epoch would be
# 40 x 200, the network's weights 40 x 163.
ALLOWED = 2048

PROGRAM = f"""
import sys, torch
from pathlib import Path
from tiny import tiny_config, tiny_dataset
from mnist_fast.progress import Reporter
from mnist_fast.runs import RunDirectory
from mnist_fast.training import train

class Watch(Reporter):
    def end_epoch(self, record):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        print(pages * 4, flush=True)

torch.set_num_threads(1)
with RunDirectory(sys.argv[1]) as run:
    config = tiny_config(epochs={EPOCHS}, batch_size=64, save_every=4)
    train(config, tiny_dataset(train=640, test=200), run=run, reporter=Watch(quiet=True))
"""


@pytest.mark.long
def test_the_resident_set_is_flat_over_50_epochs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "run")]
    done = subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
    kibibytes = [int(line) for line in done.stdout.split()]
    assert len(kibibytes) == EPOCHS
    assert max(kibibytes[10:]) - kibibytes[9] <= ALLOWED, kibibytes
