"""Python's garbage collector beside a training loop."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def existing_objects_spared() -> Iterator[None]:
    """Within it, the collector leaves alone what existed before.

    Importing torch makes two hundred thousand objects that stay. To look at all of them, as the collector does now and
    then, takes as long as a hundred steps of a small network.
    """
    if gc.get_freeze_count():  # somebody else's, and theirs to end
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
