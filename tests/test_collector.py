"""The garbage collector is left as it was."""

from __future__ import annotations

import gc
import weakref

import pytest
from tiny import tiny_config, tiny_dataset

from mnist_fast.collector import existing_objects_spared
from mnist_fast.training import train


class Cycle:
    def __init__(self) -> None:
        self.me = self


def test_existing_objects_are_spared_and_new_ones_are_not() -> None:
    old = weakref.ref(Cycle())
    with existing_objects_spared():
        new = weakref.ref(Cycle())
        gc.collect()
        assert old() is not None
        assert new() is None
    gc.collect()
    assert old() is None


def test_what_was_frozen_before_stays_so() -> None:
    with existing_objects_spared():
        with existing_objects_spared():
            pass
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()


def test_an_error_leaves_nothing_frozen() -> None:
    with pytest.raises(KeyError), existing_objects_spared():
        raise KeyError
    assert not gc.get_freeze_count()


def test_training_ends_with_the_collector_as_before() -> None:
    train(tiny_config(), tiny_dataset())
    assert not gc.get_freeze_count()
