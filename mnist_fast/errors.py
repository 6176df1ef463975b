"""Errors that a user can cause, each with the exit code of the command line.

Their message is one line that says what is wrong, with which value, and what to do. The command line prints it
without a traceback; from Python they are ordinary exceptions.
"""


class MnistFastError(Exception):
    """Something a user can mend: a damaged checkpoint, an unwritable directory, a kernel that does not exist."""

    exit_code = 1


class UsageError(MnistFastError):
    """An argument that names something this machine or this version does not have."""

    exit_code = 2


class DataError(MnistFastError):
    """Data that is missing, unreadable or damaged; the message names every path and address that was tried."""

    exit_code = 3


class TargetMissedError(MnistFastError):
    """Training ended below ``--target-acc``."""

    exit_code = 4


class InterruptedRunError(MnistFastError):
    """A signal ended the run after its state was saved.

    Args:
        signal_number: the signal, 2 (SIGINT) or 15 (SIGTERM); the exit code is 128 + it, as shells report it.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
