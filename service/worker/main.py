"""One worker process: serve what the registry says is current to whoever queues, until told to stop."""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import asdict
from functools import partial
from threading import Event

from model.checkpoint import CheckpointInfo
from service.broker.config import broker_config
from service.broker.worker import RedisWorkerBroker
from service.engine.loop import Engine
from service.ids import new_id
from service.metrics import WorkerMetrics
from service.probes import Probes
from service.registry import registry_of
from service.settings import Settings, SettingsError, variable
from service.tracing import open_tracer
from service.worker.observer import WorkerObserver
from service.worker.reload import Reloader, TableLoader
from service.worker.source import BrokerSource
from service.worker.watchdog import end_on_failed_threads, watch

log = logging.getLogger(__name__)

_LAST_WORDS = 0.1
"""The part of the drain's time that is left for publishing and handing back."""
_STUCK = 2.0
"""How many times the stall timeout a worker may be stalled before it ends itself."""


class Worker:
    """The parts of a worker, made known to each other."""

    def __init__(self, settings: Settings, worker_id: str, loader: TableLoader, *, strict: bool = False) -> None:
        """Connect nothing and load nothing yet; raises SettingsError.

        Args:
            settings: every limit.
            worker_id: never used before.
            loader: makes tables of checkpoints.
            strict: whether an engine that contradicts itself raises InvariantError.
        """
        self._settings = settings
        self.stopping = Event()
        self._loaded = False
        self.metrics = WorkerMetrics(settings.max_segments_cap)
        self._loader = loader
        for kind in ("used", "free"):
            self.metrics.device_memory.labels(kind).set_function(partial(self._memory, kind))
        serving: dict[str, CheckpointInfo] = {}
        look_now = Event()
        self.observer = WorkerObserver(self.metrics, on_retired=lambda table: loader.release(table.runner))
        self._source = BrokerSource(
            RedisWorkerBroker(broker_config(settings), worker_id),
            serving=serving.get,
            describe=self.describe,
            lease_s=settings.lease_s,
            metrics=self.metrics,
            on_reload=look_now.set,
            tracer=open_tracer(settings, "worker"),
        )
        self._engine = Engine(self._source, self.observer, time.monotonic, strict=strict)
        registry = registry_of(settings)
        self._reloader = Reloader(
            registry, loader, self._engine, self.metrics, serving, look_now, on_change=self._source.announce
        )

    def run(self) -> None:
        """Load, serve until `stopping`, drain; raises CheckpointError where there is nothing to serve."""
        self._reloader.load_all()
        self._loaded = True
        self._source.start()
        self._reloader.start()
        log.info("worker is ready", extra={"tasks": sorted(self._reloader.serving)})
        self._engine.run(self.stopping.is_set)
        self._drain()

    def stop(self) -> None:
        """Have `run` drain and return; for a signal handler. While it still loads, nobody waits for it: it ends."""
        self.stopping.set()
        if not self._loaded:
            raise SystemExit(0)

    def _memory(self, kind: str) -> float:
        return self._loader.memory()[kind]

    def _drain(self) -> None:
        timeout_s = self._settings.drain_timeout_s
        end = time.monotonic() + timeout_s
        log.info("draining", extra={"timeout_s": timeout_s})
        self._reloader.close()
        self._source.stop_fetching()
        self._source.hand_back(self._engine.unstage())
        self._source.hand_back(self._engine.drain(until=end - _LAST_WORDS * timeout_s))
        self.observer.rest()
        self._source.close(give_up=end)

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
            **self._loader.describe(),
        }

    def live(self) -> str | None:
        """For `/livez`: what is wrong, if the engine makes no progress."""
        return self.observer.stalled(self._settings.stall_timeout_s)

    def stuck(self) -> str | None:
        """For the watchdog: what is wrong, if there is no hope left."""
        return self.observer.stalled(_STUCK * self._settings.stall_timeout_s)

    def ready(self) -> str | None:
        """For `/readyz`."""
        if not self._loaded:
            return "loading checkpoints"
        if not self._source.connected:
            return "Redis has not answered yet"
        return "draining" if self.stopping.is_set() else None


def run_worker(settings: Settings, loader: TableLoader) -> int:
    """Run a worker to its end and return the exit code.

    Raises:
        SettingsError, CheckpointError: it cannot start; the message is one line for the user.
    """
    end_on_failed_threads()
    worker = Worker(settings, settings.worker_id or new_id(), loader)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    watch(worker.stuck, every_s=settings.stall_timeout_s / 4)
    probes = _probes(settings, worker)
    try:
        worker.run()
    finally:
        if probes is not None:
            probes.close()
    return 0


def _probes(settings: Settings, worker: Worker) -> Probes | None:
    if settings.probe_port is None:
        return None
    try:
        probes = Probes(
            settings.host, settings.probe_port, live=worker.live, ready=worker.ready, metrics=worker.metrics.render
        )
    except OSError as error:
        reason = f"cannot listen on port {settings.probe_port} of {settings.host}: {error.strerror or error}"
        raise SettingsError(f"{variable('probe_port')}: {reason}") from None
    log.info("probes listen", extra={"port": probes.port})
    return probes
