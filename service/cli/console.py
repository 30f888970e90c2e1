"""Where tables go."""

from __future__ import annotations

from rich.console import Console

_WIDE = 200


def console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; where there is none, wide enough that `grep` finds a row on one line."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=_WIDE)
