"""A line on stderr that shows how far something is; nothing where nobody looks (stderr is no terminal)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def progress_line(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yields the function to call with how many are done, of how many. The line vanishes at the end."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        line = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(line, completed=done, total=total)
