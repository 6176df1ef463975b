"""Training runs in processes that are killed: a server that has imported all they need forks one for each job.

``python fork_server.py`` takes jobs as lines of JSON on standard input and answers each with the exit status of its
process, negative where a signal ended it. :class:`ForkServer` is the other end.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


class ForkServer:
    """Runs tiny trainings, one after the other, each in a process of its own with one thread."""

    def __enter__(self) -> ForkServer:
        # A script's own directory comes first on the import path, not the one that pytest was started in.
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()

    def train(
        self,
        options: Mapping[str, Any],
        output: Path,
        *,
        resume: bool = False,
        kill_after: float | None = None,
        kill_at: int | None = None,
        kill_size: int | None = None,
        number: int = signal.SIGKILL,
    ) -> int:
        """Train ``tiny_config(**options)`` into ``output``.

        Args:
            kill_after: seconds after which the process gets the signal ``number``, if it has not ended.
            kill_at: kill it just before the operation of this number, from 0, on files in ``output``: opening,
                renaming and deleting count.
            kill_size: kill it in the middle of a write, when a file has grown to so many bytes.

        Returns:
            The exit status: 0; -SIGKILL, -SIGXFSZ by ``kill_size``; what the run means to exit with after a signal
            ``number``; and nothing else.
        """
        job = [dict(options), str(output), resume, kill_after, kill_at, kill_size, number]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        assert status in (0, -signal.SIGKILL, -signal.SIGXFSZ, 128 + number), "see the server's standard error"
        return status


def _serve() -> None:
    import torch
    import torch._dynamo  # imported by the first optimizer, which takes longer than a whole run

    import mnist_fast.training  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        options, output, resume, kill_after, kill_at, kill_size, number = json.loads(line)
        started, start = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(started)
            _train(options, output, resume, kill_at, kill_size, start)
        os.close(start)
        os.read(started, 1)  # ends when the child has closed its end: it is about to train
        os.close(started)
        if kill_after is not None:
            time.sleep(kill_after)  # any moment will do, that is the point
            os.kill(child, number)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _train(
    options: dict[str, Any], output: str, resume: bool, kill_at: int | None, kill_size: int | None, start: int
) -> None:
    from tiny import tiny_config, tiny_dataset

    from mnist_fast.errors import InterruptedRunError
    from mnist_fast.runs import RunDirectory
    from mnist_fast.signals import GracefulExit
    from mnist_fast.training import train

    status = 1
    try:
        if kill_at is not None:
            _kill_before_operation(kill_at, output)
        with GracefulExit() as signals, RunDirectory(output, resume=resume) as run:
            os.close(start)

            def received() -> int | None:
                if kill_size is not None:  # from the first step on: before it, the run tries how much room there is
                    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (kill_size, kill_size))
                return signals.received

            train(tiny_config(**options), tiny_dataset(), run=run, received_signal=received)
        status = 0
    except InterruptedRunError as error:
        status = error.exit_code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _kill_before_operation(number: int, output: str) -> None:
    left = number

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in ("open", "os.rename", "os.remove") and str(arguments[0]).startswith(output):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(look)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _serve()
