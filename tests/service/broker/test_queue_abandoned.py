"""A job whose caller left, or was told that it is not in, is not solved for nobody."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from broker_lab import TASK, Desk, ids, new_job, until

from service.broker.config import BrokerConfig
from service.broker.embedded import EmbeddedServer
from service.broker.front import RedisFrontBroker
from service.broker.records import BrokerError, JobState
from service.broker.worker import RedisWorkerBroker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path / "state") as server:
        yield server


@pytest.fixture
def config(server: EmbeddedServer) -> BrokerConfig:
    return BrokerConfig(server.url, lease_s=0.3)


@contextmanager
def hanging(server: EmbeddedServer) -> Iterator[None]:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def becomes(condition: Callable[[], Any]) -> None:
    """Wait for a condition while the broker's tasks go on."""
    await asyncio.to_thread(until, condition)


@pytest.mark.parametrize("reply_to", ["api", ""], ids=["waited for", "kept"])
async def test_a_job_that_comes_in_after_its_caller_was_refused(
    server: EmbeddedServer, front: RedisFrontBroker, desk: Desk, worker: RedisWorkerBroker, reply_to: str
) -> None:
    await front.submit(new_job("before"))
    with hanging(server), pytest.raises(BrokerError):
        await front.submit(new_job("a", reply_to=reply_to))
    await becomes(lambda: desk.state("a") is JobState.CANCELLED)
    assert ids(worker.take({TASK: 2})) == ["before"]


async def test_under_an_idempotency_key_its_caller_may_come_back(
    server: EmbeddedServer, front: RedisFrontBroker, desk: Desk, worker: RedisWorkerBroker
) -> None:
    await front.submit(new_job("before"))
    with hanging(server), pytest.raises(BrokerError):
        await front.submit(new_job("a", idempotency_key="k", body_hash="h"))
    await becomes(lambda: desk.state("a"))
    receipt = await front.submit(new_job("b", idempotency_key="k", body_hash="h"))
    assert receipt.job_id == "a"
    assert ids(worker.take({TASK: 2})) == ["before", "a"]


@pytest.mark.parametrize("moment", range(8))
async def test_a_caller_that_leaves_while_the_job_is_admitted(
    front: RedisFrontBroker, desk: Desk, worker: RedisWorkerBroker, moment: int
) -> None:
    admitting = asyncio.create_task(front.submit(new_job("a")))
    for _ in range(moment):
        await asyncio.sleep(0)
    admitting.cancel()
    (outcome,) = await asyncio.gather(admitting, return_exceptions=True)
    await front.submit(new_job("b"))
    if isinstance(outcome, asyncio.CancelledError):
        await becomes(lambda: desk.state("a") in (None, JobState.CANCELLED))
        assert ids(worker.take({TASK: 2})) == ["b"]
    await becomes(lambda: not front._abandoned._until)


async def test_a_redis_that_is_away_is_told_when_it_is_back(
    server: EmbeddedServer, front: RedisFrontBroker, desk: Desk
) -> None:
    await front.submit(new_job("wanted by nobody"))
    await front.submit(new_job("not even for long"))
    server.stop()
    front.abandon("wanted by nobody", 60)
    front.abandon("not even for long", 0.01)
    await becomes(lambda: list(front._abandoned._until) == ["wanted by nobody"])
    server.start()
    await becomes(lambda: desk.state("wanted by nobody") is JobState.CANCELLED)
    assert desk.state("not even for long") is JobState.QUEUED
    await becomes(lambda: front._abandoned._task is None)


async def test_what_is_handed_in_again_is_wanted(server: EmbeddedServer, front: RedisFrontBroker, desk: Desk) -> None:
    server.stop()
    with pytest.raises(BrokerError):
        await front.submit(new_job("a"))
    await asyncio.sleep(0.1)  # its cancellation has failed once
    server.start()
    await front.submit(new_job("a"))
    await becomes(lambda: front._abandoned._task is None)
    assert desk.state("a") is JobState.QUEUED


async def test_closing_cancels_what_it_can_and_does_not_wait_for_a_redis_that_is_away(
    server: EmbeddedServer, config: BrokerConfig, desk: Desk
) -> None:
    front, late = RedisFrontBroker(config, "one"), RedisFrontBroker(config, "two")
    for broker, job_id in ((front, "a"), (late, "b")):
        await broker.start()
        await broker.submit(new_job(job_id, reply_to=broker.reply_to))
    front.abandon("a", 60)
    await front.close()
    assert desk.state("a") is JobState.CANCELLED
    server.stop()
    late.abandon("b", 60)
    start = time.monotonic()
    await late.close()
    assert time.monotonic() - start < 5
