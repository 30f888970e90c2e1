"""One worker process: load what the registry says is current, then solve what the queue gives until told to stop."""

from __future__ import annotations

import logging
import signal
import time
from threading import Event

from model.checkpoint import CheckpointError, CheckpointInfo
from model.registry import SHIPPED, Registry
from service.broker.config import broker_config
from service.broker.worker import RedisWorkerBroker
from service.engine.load import load_table
from service.engine.loop import Engine
from service.engine.table import Table
from service.ids import new_id
from service.metrics import WorkerMetrics
from service.probes import Probes
from service.settings import Settings
from service.worker.observer import WorkerObserver
from service.worker.source import BrokerSource

log = logging.getLogger(__name__)


class Worker:
    """What the parts of a worker know of each other."""

    def __init__(self, settings: Settings, worker_id: str) -> None:
        self.settings, self.worker_id = settings, worker_id
        self.registry = Registry([settings.checkpoints, SHIPPED])
        self.metrics = WorkerMetrics(settings.max_segments_cap)
        self.observer = WorkerObserver(self.metrics, settings.stall_timeout_s)
        self.stopping = Event()
        self.infos: dict[str, CheckpointInfo] = {}
        self.tables: list[Table] = []

    def load(self) -> None:
        """Load every current checkpoint; one that is refused leaves the others.

        Raises:
            CheckpointError: there is none, or all were refused.
            DeviceError: the device is not there.
        """
        tasks = self.registry.tasks()
        self.metrics.know_tasks(tasks)
        refused: list[CheckpointError] = []
        for task in tasks:
            try:
                self._load(task)
            except CheckpointError as error:
                refused.append(error)
                self.metrics.checkpoint_loads.labels(task, "refused").inc()
                log.error("checkpoint refused", extra={"task": task, "reason": str(error)})
        if not self.tables:
            roots = ", ".join(str(root) for root in self.registry.roots)
            raise refused[0] if refused else CheckpointError(f"there is no checkpoint in {roots}: train or import one")

    def _load(self, task: str) -> None:
        start = time.perf_counter()
        info = self.registry.current(task)
        if info is None:
            raise CheckpointError(f"task {task!r} has no current checkpoint")
        table = load_table(info, self.settings)
        self.infos[task] = info
        self.tables.append(table)
        self.metrics.slots.labels(task).set(table.slots.size)
        self.metrics.slots_occupied.labels(task).set_function(lambda: table.slots.held)
        self.metrics.checkpoint_info.labels(task, info.version, info.sha256).set(1)
        self.metrics.checkpoint_loads.labels(task, "loaded").inc()
        self.metrics.checkpoint_load_duration.labels(task).observe(time.perf_counter() - start)

    def describe(self) -> dict[str, object]:
        """What `/workers` shows."""
        runner = self.tables[0].runner.describe()
        return {
            "tasks": {
                table.task_name: {"checkpoint": table.checkpoint, "warm": True, "slots": table.slots.size}
                for table in self.tables
            },
            "draining": self.stopping.is_set(),
            "device": runner["device"],
            "precision": runner["dtype"],
            "backend": f"{runner['backend']} {runner['mode']}",
        }

    def live(self) -> str | None:
        """For `/livez`."""
        return self.observer.stalled() if self.tables else None

    def ready(self) -> str | None:
        """For `/readyz`."""
        if not self.tables:
            return "loading checkpoints"
        return "draining" if self.stopping.is_set() else None

    def run(self) -> None:
        """Serve until `stopping`, then drain."""
        source = BrokerSource(
            RedisWorkerBroker(broker_config(self.settings), self.worker_id),
            serving=self.infos.get,
            describe=self.describe,
            lease_s=self.settings.lease_s,
            metrics=self.metrics,
            on_reload=lambda: None,
        )
        engine = Engine(self.tables, source, self.observer, time.monotonic, strict=False)
        source.start()
        log.info("worker is ready", extra={"worker": self.worker_id, "tasks": list(self.infos)})
        engine.run(self.stopping.is_set)
        log.info("draining", extra={"timeout_s": self.settings.drain_timeout_s})
        source.stop_fetching()
        source.close(engine.drain(time.monotonic() + self.settings.drain_timeout_s))


def run_worker(settings: Settings, worker_id: str | None = None) -> int:
    """Run a worker to its end and return the exit code.

    Raises:
        SettingsError, CheckpointError, DeviceError: it cannot start; the message is one line for the user.
    """
    worker = Worker(settings, worker_id or new_id())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    probes = None
    if settings.probe_port is not None:
        probes = Probes(
            settings.host, settings.probe_port, live=worker.live, ready=worker.ready, metrics=worker.metrics.render
        )
    try:
        worker.load()
        worker.run()
    finally:
        if probes is not None:
            probes.close()
    return 0
