"""How far a long run is: a bar on a terminal, a line now and then in a log. Always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 10.0


@contextmanager
def progress(total: int, *, show: bool) -> Iterator[Callable[[], None]]:
    """Gives what to call after each of `total` puzzles."""
    if not show:
        yield lambda: None
    elif sys.stderr.isatty():
        columns = TextColumn("solving"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            puzzles = bar.add_task("", total=total)
            yield lambda: bar.advance(puzzles)
    else:
        yield _Lines(total).advance


class _Lines:
    def __init__(self, total: int) -> None:
        self._done, self._total = 0, total
        self._started = self._told = time.monotonic()

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._told >= _LINE_EVERY_S:
            self._told = now
            rate = self._done / (now - self._started)
            left = (self._total - self._done) / rate
            print(
                f"{self._done} of {self._total} puzzles, {rate:.1f} a second, about {left:.0f} s left", file=sys.stderr
            )
