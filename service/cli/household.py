"""The children of `hrm serve`: which ones, with which settings, and what is done when one of them dies."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.broker.admin import QueueAdmin
from service.broker.config import BrokerConfig, broker_config
from service.broker.embedded import EmbeddedServer, EmbeddedServerError
from service.broker.records import BrokerError
from service.cli.ports import Ports, reachable
from service.cores import threads_of_each
from service.ids import new_id
from service.settings import SECRETS, Settings, load_settings, variable
from service.supervisor import Process, Role, launch

log = logging.getLogger(__name__)

_LAST_WORDS_S = 10.0
"""Beyond its drain: slow readers fetch what was answered, Python ends."""


def household(flags: Mapping[str, Any], ports: Ports, queue: EmbeddedServer | None) -> list[list[Role]]:
    """The roles, in groups that end one after the other: API and workers, then the queue.

    The API is asked to end first, and ends last: it refuses new work while the workers finish what they hold, and
    answers that.

    Args:
        flags: Settings that go before the environment.
        ports: Where they listen.
        queue: The embedded server, already started, where there is one.

    Raises:
        SettingsError: The URL of the queue is wrong.
    """
    if queue:
        flags = {**flags, "redis_url": queue.url}
    settings = load_settings(**flags)
    config = broker_config(settings)
    flags = {**flags, "port": ports.api}
    everybody = {"metrics_from": ",".join([*settings.metrics_from, *_metrics(settings.host, ports)])}
    roles = [_api(settings, {**flags, **everybody, "metrics_port": port}) for port in ports.metrics]
    roles += [_worker(settings, config, {**flags, "probe_port": port}) for port in ports.probes]
    return [roles, [_queue(queue)]] if queue else [roles]


def _metrics(host: str, ports: Ports) -> list[str]:
    """Where each process shows its own metrics, and its name, which is the same in all its lives."""
    kinds = {"api": ports.metrics, "worker": ports.probes}
    return [
        f"http://{reachable(host)}:{port}/metrics#{kind}-{number}"
        for kind, own in kinds.items()
        for number, port in enumerate(own, start=1)
    ]


def _api(settings: Settings, flags: Mapping[str, Any]) -> Role:
    environment = _environment(flags)
    return Role("API", lambda life: launch([*_hrm(), "api"], environment), settings.drain_timeout_s + _LAST_WORDS_S)


def _worker(settings: Settings, config: BrokerConfig, flags: Mapping[str, Any]) -> Role:
    environment = threads_of_each(settings.worker_processes) | _environment(flags)
    name = new_id()

    async def start(life: int) -> Process:
        return await launch([*_hrm(), "worker", "--worker-id", f"{name}-{life}"], environment)

    async def hand_over(life: int) -> None:
        """Without this its jobs would wait for the end of their leases."""
        admin = QueueAdmin(config)
        try:
            handed_over, buried = await asyncio.to_thread(admin.hand_over, f"{name}-{life}")
            log.info("what the dead worker held goes to others", extra={"jobs": handed_over, "given_up": buried})
        except BrokerError as error:
            log.warning("what the dead worker held waits for its lease to end: %s", error)
        finally:
            admin.close()

    return Role("worker", start, settings.drain_timeout_s + _LAST_WORDS_S, hand_over)


def _queue(server: EmbeddedServer) -> Role:
    async def start(life: int) -> Process:
        try:
            await asyncio.to_thread(server.start)
        except EmbeddedServerError as error:
            log.error("%s", error)
        return _Server(server)

    return Role("queue", start)


class _Server:
    """The embedded server as a process of the supervisor."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    @property
    def returncode(self) -> int | None:
        return None if self._server.pid else self._server.returncode or 0

    async def wait(self) -> int:
        while self.returncode is None:
            await asyncio.sleep(0.1)
        return self.returncode

    def terminate(self) -> None:
        if pid := self._server.pid:
            os.kill(pid, signal.SIGTERM)

    def kill(self) -> None:
        if pid := self._server.pid:
            os.kill(pid, signal.SIGKILL)


def _hrm() -> list[str]:
    """This command, as its children are started: by the same Python and, where it is installed, by its name."""
    script = Path(sysconfig.get_path("scripts")) / "hrm"
    return [sys.executable, str(script)] if script.exists() else [sys.executable, "-m", "service.cli"]


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """Ours, with these settings before what it says."""
    replaced = {f"{variable(name)}_FILE" for name in SECRETS if name in settings}
    kept = {name: value for name, value in os.environ.items() if name not in replaced}
    return kept | {variable(name): str(value) for name, value in settings.items()}
