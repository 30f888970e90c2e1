"""One worker process: serve what the registry says is current to whoever queues, until told to stop."""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import asdict
from threading import Event

from model.checkpoint import CheckpointInfo
from model.registry import SHIPPED, Registry
from service.broker.config import broker_config
from service.broker.worker import RedisWorkerBroker
from service.engine.load import Loader
from service.engine.loop import Engine
from service.ids import new_id
from service.metrics import WorkerMetrics
from service.probes import Probes
from service.settings import Settings
from service.worker.observer import WorkerObserver
from service.worker.reload import Reloader
from service.worker.source import BrokerSource

log = logging.getLogger(__name__)


class Worker:
    """The parts of a worker, made known to each other."""

    def __init__(self, settings: Settings, worker_id: str) -> None:
        """Raises SettingsError or DeviceError."""
        self._settings = settings
        self.stopping = Event()
        self.metrics = WorkerMetrics(settings.max_segments_cap)
        self._loader = loader = Loader(settings)
        serving: dict[str, CheckpointInfo] = {}
        look_now = Event()
        self._observer = WorkerObserver(
            self.metrics, settings.stall_timeout_s, on_retired=lambda table: loader.release(table.runner)
        )
        self._source = BrokerSource(
            RedisWorkerBroker(broker_config(settings), worker_id),
            serving=serving.get,
            describe=self.describe,
            lease_s=settings.lease_s,
            metrics=self.metrics,
            on_reload=look_now.set,
        )
        self._engine = Engine(self._source, self._observer, time.monotonic, strict=False)
        registry = Registry([settings.checkpoints, SHIPPED])
        self._reloader = Reloader(registry, loader, self._engine, self.metrics, serving, look_now)

    def run(self) -> None:
        """Load, serve until `stopping`, drain; raises CheckpointError where there is nothing to serve."""
        self._reloader.load_all()
        self._source.start()
        self._reloader.start()
        log.info("worker is ready", extra={"tasks": sorted(self._reloader.serving)})
        self._engine.run(self.stopping.is_set)
        log.info("draining", extra={"timeout_s": self._settings.drain_timeout_s})
        self._reloader.close()
        self._source.stop_fetching()
        self._source.close(self._engine.drain(time.monotonic() + self._settings.drain_timeout_s))

    def describe(self) -> dict[str, object]:
        """What `/workers` shows."""
        reloader, tables = self._reloader, dict(self._reloader.tables)
        return {
            "tasks": {
                task: {
                    "checkpoint": table.info.name,
                    "warm": True,
                    "slots": table.slots.size,
                    "runner": table.runner.describe(),
                }
                for task, table in tables.items()
            },
            "loads": {task: asdict(status) for task, status in dict(reloader.status).items()},
            "draining": self.stopping.is_set(),
            "device": str(self._loader.device),
            "precision": str(self._loader.dtype).removeprefix("torch."),
            "backend": "torch",
        }

    def live(self) -> str | None:
        """For `/livez`."""
        return self._observer.stalled() if self._reloader.serving else None

    def ready(self) -> str | None:
        """For `/readyz`."""
        if not self._reloader.serving:
            return "loading checkpoints"
        return "draining" if self.stopping.is_set() else None


def run_worker(settings: Settings, worker_id: str | None = None) -> int:
    """Run a worker to its end and return the exit code.

    Raises:
        SettingsError, CheckpointError, DeviceError: it cannot start; the message is one line for the user.
    """
    worker = Worker(settings, worker_id or new_id())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    if settings.probe_port is None:
        worker.run()
        return 0
    probes = Probes(
        settings.host, settings.probe_port, live=worker.live, ready=worker.ready, metrics=worker.metrics.render
    )
    try:
        worker.run()
    finally:
        probes.close()
    return 0
