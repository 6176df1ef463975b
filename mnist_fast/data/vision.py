"""Datasets that torchvision knows how to download: EMNIST, QMNIST, USPS.

torchvision is imported where it is needed and not before, so that a broken one stands in nobody else's way.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mnist_fast.errors import DataError

_TIMEOUT_SECONDS = 30.0


def import_torchvision_datasets(name: str) -> Any:
    """``torchvision.datasets``, or an error that says how to mend it.

    Args:
        name: the dataset that needs it.

    Raises:
        DataError: torchvision is not installed or does not fit the installed torch.
    """
    try:
        from torchvision import datasets
    except Exception as error:  # a torchvision built for another torch raises RuntimeError, among others
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name} needs torchvision, which cannot be imported here ({reason}); "
            "install torch and torchvision together, from the same index, so that their builds fit"
        ) from None
    return datasets


def download_steps(name: str, root: Path) -> list[tuple[list[str], Callable[[], object]]]:
    """The downloads that bring ``emnist-*``, ``qmnist`` or ``usps`` into ``root``: their addresses and what to call."""
    datasets = import_torchvision_datasets(name)
    if name.startswith("emnist-"):
        split = name.removeprefix("emnist-")
        return [([datasets.EMNIST.url], lambda: datasets.EMNIST(root, split=split, download=True))]
    if name == "qmnist":
        resources = datasets.QMNIST.resources
        return [
            ([url for url, _ in resources["train"]], lambda: datasets.QMNIST(root, what="train", download=True)),
            ([url for url, _ in resources["test"]], lambda: datasets.QMNIST(root, what="test", download=True)),
        ]
    splits = datasets.USPS.split_list
    return [
        ([splits["train"][0]], lambda: datasets.USPS(root, train=True, download=True)),
        ([splits["test"][0]], lambda: datasets.USPS(root, train=False, download=True)),
    ]


@contextlib.contextmanager
def socket_timeout() -> Iterator[None]:
    """Give new sockets a time-out: torchvision's downloads have none of their own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
