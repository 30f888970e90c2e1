"""What can go wrong with a run."""

from __future__ import annotations


class RunError(RuntimeError):
    """A run cannot start or go on; the message says what to do."""


class StateError(RunError):
    """A saved state cannot be read or written; the message names the file."""
