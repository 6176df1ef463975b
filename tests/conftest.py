"""What every test relies on: the installed package, fixed seeds and threads, and where the real MNIST is."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest


def pytest_sessionstart(session: pytest.Session) -> None:
    """Stop at once where the tests would run on sources that were never built: they would test stock PyTorch."""
    import mnist_fast

    package, checkout = Path(mnist_fast.__file__).resolve().parent, Path(__file__).resolve().parent.parent
    built = any((package / "_lib").glob("*.so"))
    if package.parent == checkout and not built and os.environ.get("MNIST_FAST_BACKEND") != "stock":
        pytest.exit(
            f"the tests import mnist_fast from the source tree {checkout}, which has no compiled library: "
            'run `pip install ".[test]"` and then `pytest` (not `python -m pytest`, which prefers the source tree); '
            "MNIST_FAST_BACKEND=stock tests the sources without kernels",
            returncode=4,
        )


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    """Every test starts from the same random numbers, with two threads, whichever tests ran before it."""
    import torch

    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """A torchvision root that holds MNIST, from MNIST_FAST_DATA; skips where it is unset."""
    value = os.environ.get("MNIST_FAST_DATA")
    if not value:
        pytest.skip("MNIST_FAST_DATA is not set: it names a directory with MNIST/raw for the tests on the real data")
    root = Path(value)
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.fail(f"MNIST_FAST_DATA={value} has no MNIST/raw/train-images-idx3-ubyte")
    return root
