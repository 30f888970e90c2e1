"""Which tasks this server knows: the registry's current checkpoints, looked at once a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from model.checkpoint import CheckpointError, CheckpointInfo
from model.registry import Registry
from service.api.errors import ApiError
from service.problems import ProblemKind

_REFRESH_S = 1.0

log = logging.getLogger(__name__)


class Catalogue:
    """The tasks by name; requests read it, one background loop keeps it fresh.

    Args:
        registry: Where checkpoints are published.
        default_task: The task of a request that names none.
    """

    def __init__(self, registry: Registry, default_task: str | None = None) -> None:
        self._registry = registry
        self._default_task = default_task
        self._tasks: dict[str, CheckpointInfo] = {}
        self._complaints: dict[str, str] = {}
        self.refresh()

    def all(self) -> Iterable[CheckpointInfo]:
        """The current checkpoint of every task."""
        return self._tasks.values()

    def names(self) -> list[str]:
        """The known tasks."""
        return list(self._tasks)

    def find(self, task: str | None, pointer: str | None = None) -> CheckpointInfo:
        """The current checkpoint of a task, or of the default one; raises ApiError that points to `pointer`."""
        name = self._default_task if task is None else task
        if name is None:
            raise ApiError(ProblemKind.BAD_REQUEST, f"task is missing; known: {self._known()}", pointer=pointer)
        found = self._tasks.get(name)
        if found is None:
            raise ApiError(ProblemKind.UNKNOWN_TASK, f"no task {name!r}; known: {self._known()}", pointer=pointer)
        return found

    def refresh(self) -> None:
        """Read the registry; a checkpoint that cannot be read leaves the one before in place."""
        found = {name: self._current(name) for name in self._registry.tasks()}
        self._tasks = {name: info for name, info in found.items() if info is not None}

    async def keep_fresh(self) -> None:
        """Refresh for ever, off the event loop: the registry may lie on a slow disk."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                await asyncio.to_thread(self.refresh)
            except OSError as error:
                self._complain("", f"the registry cannot be read: {error}")

    def _current(self, name: str) -> CheckpointInfo | None:
        known = self._tasks.get(name)
        try:
            if known is not None and known.version == self._registry.current_version(name):
                return known
            info = self._registry.current(name)
            if info is not None:
                _ = info.codec, info.identifiers  # read here, in this thread, and kept for the requests
            self._complaints.pop(name, None)
        except (CheckpointError, OSError) as error:
            self._complain(name, f"the current checkpoint cannot be read: {error}")
            return known
        return info

    def _complain(self, name: str, complaint: str) -> None:
        if self._complaints.get(name) != complaint:
            log.warning("%s", complaint, extra={"task": name})
        self._complaints[name] = complaint

    def _known(self) -> str:
        return ", ".join(self._tasks) or "none yet"
