"""Hot-loading: follow the registry while the engine runs.

CURRENT is the truth: it is looked at every few seconds, and at once when a control message says so. Loading happens
in this thread, away from the engine; only the flip, which is a pointer, happens between two segments.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from model.checkpoint import CheckpointError, CheckpointInfo
from model.registry import Registry
from service.engine.loop import Engine
from service.engine.runner import Runner
from service.engine.table import Table
from service.metrics import WorkerMetrics

log = logging.getLogger(__name__)

POLL_S = 2.0


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """How the last load of a task went, for `/workers` and `/checkpoints`."""

    version: str
    outcome: str
    reason: str | None
    seconds: float
    at: float
    """Unix time."""


class TableLoader(Protocol):
    """Makes tables of checkpoints, for one device."""

    def load(self, info: CheckpointInfo) -> Table:
        """A warm table; raises CheckpointError where the checkpoint cannot be served."""
        ...

    def release(self, runner: Runner) -> None:
        """Take back a runner that nothing runs on any more."""
        ...

    def describe(self) -> dict[str, object]:
        """Device, precision and backend, for `/workers`."""
        ...

    def memory(self) -> dict[str, float]:
        """Bytes of the device, `used` and `free`, for the metrics."""
        ...


class Reloader:
    """Keeps what the engine serves in step with the registry.

    A version that was refused is not tried again until CURRENT has named another one. While an earlier checkpoint still
    holds puzzles, further ones wait; of several only the last is then loaded.

    Args:
        serving: filled here, read by others: the checkpoint that new puzzles of a task get.
        look_now: set by whoever knows that a CURRENT has moved.
        on_change: called when another checkpoint is served, or a task no longer.
    """

    def __init__(
        self,
        registry: Registry,
        loader: TableLoader,
        engine: Engine,
        metrics: WorkerMetrics,
        serving: dict[str, CheckpointInfo],
        look_now: threading.Event,
        on_change: Callable[[], None],
    ) -> None:
        self._registry, self._loader, self._engine, self._metrics = registry, loader, engine, metrics
        self.serving, self._look_now, self._on_change = serving, look_now, on_change
        self.status: dict[str, LoadStatus] = {}
        self.tables: dict[str, Table] = {}
        self._open = True
        self._complaint = ""
        self._thread = threading.Thread(target=self._follow, name="reload", daemon=True)

    def load_all(self) -> None:
        """Load every current checkpoint; raises CheckpointError if none can be served."""
        tasks = self._tasks()
        refused = [error for task in tasks if (error := self.refresh(task))]
        if not self.serving:
            roots = ", ".join(str(root) for root in self._registry.roots)
            of = f" of {', '.join(sorted(self._registry.only))}" if self._registry.only else ""
            raise (
                refused[0]
                if refused
                else CheckpointError(f"there is no checkpoint{of} in {roots}: train or import one")
            )

    def start(self) -> None:
        """Begin to follow the registry."""
        self._thread.start()

    def close(self) -> None:
        """Stop following; a load under way is not waited for."""
        self._open = False
        self._look_now.set()

    def refresh(self, task: str) -> CheckpointError | None:
        """Serve what CURRENT of a task names; where that cannot be, keep what is served and say why."""
        start = time.perf_counter()
        version = ""
        try:
            version = self._registry.current_version(task) or ""
            if not version or self._known(task, version) or not self._engine.settled(task):
                return None
            info = self._registry.get(task, version)
            if (serving := self.serving.get(task)) is not None:
                info.require_task_of(serving)
            table = self._loader.load(info)
        except CheckpointError as error:
            self._note(task, version, start, error)
            return error
        except Exception as error:
            # What serves must go on serving, whatever a new checkpoint does to its loading.
            log.exception("loading failed in a way that was not foreseen", extra={"task": task})
            refusal = CheckpointError(f"{task}/{version}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            self._note(task, version, start, refusal)
            return refusal
        self._install(table.info, table)
        self._note(task, version, start, None)
        return None

    def _known(self, task: str, version: str) -> bool:
        """Whether a version is served, or was refused when it was tried last."""
        serving, tried = self.serving.get(task), self.status.get(task)
        if serving is None or serving.version != version:
            return tried is not None and tried.version == version
        if tried is not None and tried.version != version:
            # CURRENT went back from one that was refused, which may be tried again from now on.
            self.status[task] = LoadStatus(version, "loaded", None, 0.0, time.time())
        return True

    def _follow(self) -> None:
        while self._open:
            self._look_now.wait(POLL_S)
            self._look_now.clear()
            tasks = self._tasks()
            for task in set(self.serving) - set(tasks):
                self._withdraw(task)
            for task in tasks:
                if self._open:
                    self.refresh(task)

    def _tasks(self) -> list[str]:
        """What the registry has; what is served, while its disk or share cannot be read."""
        try:
            tasks, complaint = self._registry.tasks(), ""
        except OSError as error:
            tasks, complaint = list(self.serving), str(error)
        if complaint and complaint != self._complaint:
            log.warning("the registry cannot be read; what is served stays: %s", complaint)
        self._complaint = complaint
        return tasks

    def _install(self, info: CheckpointInfo, table: Table) -> None:
        task, old = info.task, self.serving.get(info.task)
        self._metrics.know_tasks([task])
        if old is not None:
            self._metrics.checkpoint_info.remove(task, old.version, old.sha256)
        self._metrics.checkpoint_info.labels(task, info.version, info.sha256).set(1)
        self._metrics.runner_info.remove_by_labels({"task": task})
        runner = {name: str(table.runner.describe().get(name, "none")) for name in ("backend", "dtype", "mode")}
        self._metrics.runner_info.labels(task=task, **runner).set(1)
        self._metrics.slots.labels(task).set(table.slots.size)
        self._engine.install(table)  # first, or puzzles read for it would meet the old one
        self.serving[task], self.tables[task] = info, table
        self._metrics.slots_occupied.labels(task).set_function(lambda: self._engine.held(task))
        self._on_change()

    def _withdraw(self, task: str) -> None:
        old = self.serving.pop(task)
        self.tables.pop(task)
        self.status.pop(task, None)
        self._engine.withdraw(task)
        self._metrics.checkpoint_info.remove(task, old.version, old.sha256)
        self._metrics.runner_info.remove_by_labels({"task": task})
        self._metrics.slots.labels(task).set(0)
        self._on_change()
        log.info("task withdrawn: it has no current checkpoint any more", extra={"task": task})

    def _note(self, task: str, version: str, start: float, error: CheckpointError | None) -> None:
        seconds = time.perf_counter() - start
        outcome, tried = "loaded" if error is None else "refused", self.status.get(task)
        if error is not None and tried is not None and (tried.version, tried.reason) == (version, str(error)):
            return  # a CURRENT that names nothing is refused at every look, but told once
        self.status[task] = LoadStatus(version, outcome, str(error) if error else None, round(seconds, 3), time.time())
        self._metrics.know_tasks([task])
        self._metrics.checkpoint_loads.labels(task, outcome).inc()
        if error is None:
            self._metrics.checkpoint_load_duration.labels(task).observe(seconds)
        else:
            log.error("checkpoint refused", extra={"task": task, "version": version, "reason": str(error)})
