"""The ``mnist-fast`` command. Click parses, one module per command calls the library and prints; no logic here."""

from mnist_fast.cli.app import main

__all__ = ["main"]
