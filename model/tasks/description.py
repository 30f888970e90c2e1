"""A task's description comes out of a file that somebody made: every field is checked before it is believed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from reprlib import repr as short
from typing import Any

MAX_CELLS = 4096
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def refuse_unknown(description: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise ValueError for a field that the task does not have."""
    if unknown := [key for key in description if key not in known and key != "kind"]:
        raise ValueError(f"task description: unknown field {short(unknown[0])}; known: {', '.join(known)}")


def read_name(value: object) -> str:
    """Lower-case letters, digits, '-' and '_': it names a directory, too."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(
            f"task description: name is {short(value)}; expected a letter or digit, then up to 63 of a-z, 0-9, '-', '_'"
        )
    return value


def read_shape(value: object) -> tuple[int, int]:
    """[rows, columns], each at least 1, with 2 to MAX_CELLS cells."""
    if not (isinstance(value, (list, tuple)) and len(value) == 2 and all(type(side) is int for side in value)):
        raise ValueError(f"task description: shape is {short(value)}; expected [rows, columns]")
    rows, columns = value
    if min(rows, columns) < 1 or not 2 <= rows * columns <= MAX_CELLS:
        raise ValueError(f"task description: shape {rows} x {columns}; expected 2 to {MAX_CELLS} cells")
    return rows, columns


def read_alphabet(value: object) -> str:
    """Different printable characters, few enough for a byte beside PAD."""
    if not isinstance(value, str) or not 2 <= len(value) <= 255:
        raise ValueError(f"task description: alphabet is {short(value)}; expected text of 2 to 255 characters")
    for i, character in enumerate(value):
        if not character.isprintable():
            raise ValueError(f"task description: alphabet holds {character!r}, which cannot be printed")
        if character in value[:i]:
            raise ValueError(f"task description: alphabet holds {character!r} twice")
    return value


def require_shape(value: object, expected: list[int]) -> None:
    """Raise ValueError unless the shape is the only one that the task has."""
    if value != expected:
        raise ValueError(f"task description: shape is {short(value)}; this task has only {expected}")
