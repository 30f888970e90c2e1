"""What can be wrong with data."""

from __future__ import annotations


class DataError(ValueError):
    """Data cannot be read, built or written; the message names the file and, where there is one, the row."""
