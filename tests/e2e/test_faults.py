"""Promises 1, 2 and 6 of real processes over one Valkey: it is killed under load, or a worker is told to end."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from served import ask

from benchmarks.cluster import Cluster, until
from service.broker.config import BrokerConfig
from tests.service.broker.broker_lab import Desk

OUTAGE_S = 5.0
DRAIN_S = 30.0
SLOTS = 64


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, tiny_registry: Path) -> Iterator[Cluster]:
    """Two workers of 64 slots, one API."""
    root = tmp_path_factory.mktemp("cluster")
    with Cluster(root, tiny_registry, slots=SLOTS, lease_s=3, drain_timeout_s=DRAIN_S) as cluster:
        cluster.api()
        cluster.worker()
        cluster.worker()
        cluster.until_ready(api=1, worker=2)
        yield cluster


@dataclass
class Asked:
    """One request: when it was sent, when it was answered, and how."""

    sent: float
    answered: float
    status: int


class Load:
    """New callers at a steady rate, whatever becomes of the earlier ones. Each asks once."""

    def __init__(self, url: str, per_s: float, **options: object) -> None:
        self.asked: list[Asked] = []
        self._url, self._pause_s, self._options = url, 1 / per_s, options

    async def _call(self) -> None:
        sent = time.monotonic()
        status, _ = await ask(self._url, **self._options)
        self.asked.append(Asked(sent, time.monotonic(), status))

    async def _send(self, callers: asyncio.TaskGroup) -> None:
        while True:
            callers.create_task(self._call())
            await asyncio.sleep(self._pause_s)

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Ends when all are answered."""
        async with asyncio.TaskGroup() as callers:
            sending = callers.create_task(self._send(callers))
            yield
            sending.cancel()

    async def until_answered(self, more: int) -> None:
        goal = len(self.asked) + more
        async with asyncio.timeout(60):
            while len(self.asked) < goal:
                await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_redis_is_killed_for_five_seconds_under_load(cluster: Cluster) -> None:
    # Long enough that some are under way at any moment, however fast the machine is.
    load = Load(cluster.url, per_s=50, mode="fixed", max_segments=128)
    async with load.going():
        await load.until_answered(100)
        cluster.kill_queue()
        away = time.monotonic()
        await asyncio.sleep(OUTAGE_S)
        cluster.queue.start()
        back = time.monotonic()
        await load.until_answered(200)

    # Of what was accepted, the last second may not have reached the disk (appendfsync everysec).
    lost = [asked for asked in load.asked if asked.status != 200 and asked.sent < away and asked.answered > back]
    assert len(lost) <= 60
    refused = [asked for asked in load.asked if asked.status != 200 and asked not in lost]
    assert {asked.status for asked in refused + lost} == {503}
    assert max(asked.answered - asked.sent for asked in refused) < 3.0
    assert all(away - 3 < asked.sent < back + 3 for asked in refused)
    assert {asked.status for asked in load.asked if away < asked.sent < back - 3} == {503}
    waited = [asked for asked in load.asked if asked.status == 200 and asked.sent < away and asked.answered > back]
    assert waited, "what was in the queue outlived it"
    assert all(node.alive for node in cluster.nodes), "no process was restarted"
    desk = Desk(BrokerConfig(cluster.queue.url))
    until(desk.is_empty)
    desk.close()


@pytest.mark.slow
async def test_a_worker_of_64_busy_slots_that_is_told_to_end_loses_nothing(cluster: Cluster) -> None:
    leaving, _ = cluster.ready("worker")
    # More than both workers hold, each long enough for all slots to be busy at once however fast the machine is.
    async with asyncio.TaskGroup() as callers:
        asked = [callers.create_task(ask(cluster.url, mode="fixed", max_segments=256)) for _ in range(4 * SLOTS)]
        async with asyncio.timeout(60):
            while await asyncio.to_thread(leaving.metric, "hrm_slots_occupied") < SLOTS:
                await asyncio.sleep(0.01)
        told = time.monotonic()
        leaving.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(leaving.process.wait, DRAIN_S)
        took = time.monotonic() - told
    assert {caller.result()[0] for caller in asked} == {200}
    assert code == 0
    assert took < DRAIN_S
    assert "Traceback" not in leaving.log
