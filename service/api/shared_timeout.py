"""One timer for all that wait equally long: a timer of its own costs a request 20 us, and hardly one ever goes off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SharedTimeout:
    """What `asyncio.timeout(seconds)` does, for many at a time. Used in one event loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._due: dict[asyncio.Timeout, float] = {}  # as all wait equally long, the first is always due first
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """Raises TimeoutError out of a block that takes longer."""
        async with asyncio.timeout(None) as timeout:
            self._due[timeout] = asyncio.get_running_loop().time() + self.seconds
            if self._timer is None:
                self._look()
            try:
                yield
            finally:
                self._due.pop(timeout, None)

    def _look(self) -> None:
        """End what is overdue, and look again when the next is due."""
        loop, self._timer = asyncio.get_running_loop(), None
        now = loop.time()
        for timeout, due in list(self._due.items()):
            if due > now:
                self._timer = loop.call_at(due, self._look)
                break
            del self._due[timeout]
            timeout.reschedule(now)
