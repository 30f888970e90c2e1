"""Files that appear whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def in_one_move(path: Path) -> Iterator[Path]:
    """A file to write, in a folder made for it, that replaces `path` when the block ends well and vanishes otherwise.

    Raises:
        OSError: The disk refuses (it is full, it is read-only).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):  # in a read-only folder this fails too, and would hide what was refused first
            partial.unlink(missing_ok=True)
