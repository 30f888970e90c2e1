"""Redis goes away, comes back, forgets, or answers into the void."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis
from broker_lab import TASK, Desk, answer, ids, new_job, until
from swallowing_proxy import SwallowingProxy

from service.broker.config import BrokerConfig
from service.broker.embedded import EmbeddedServer
from service.broker.front import RedisFrontBroker
from service.broker.records import Admission, BrokerError, Ending, Finished, JobLostError, JobState
from service.broker.worker import RedisWorkerBroker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path / "state") as server:
        yield server


@pytest.fixture
def config(server: EmbeddedServer) -> BrokerConfig:
    return BrokerConfig(server.url, lease_s=0.3)


def kill(server: EmbeddedServer) -> None:
    """SIGKILL, once all is written: with `appendfsync everysec` the last moment may not be."""
    with redis.Redis.from_url(server.url) as client:
        until(lambda: client.info("persistence")["aof_buffer_length"] == 0)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: server.pid is None)


def kill_and_forget(server: EmbeddedServer) -> None:
    kill(server)
    state = Path(server.url.removeprefix("unix://")).parent
    for file in [path for path in state.rglob("appendonly*") if path.is_file()]:
        file.unlink()


async def until_admitted(front: RedisFrontBroker, job_id: str) -> None:
    end = time.monotonic() + 5
    while True:
        try:
            assert await front.admit(new_job(job_id)) in (Admission.ACCEPTED, Admission.KNOWN)
            return
        except BrokerError:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)


async def test_a_restart_with_its_data_costs_nobody_an_answer(
    server: EmbeddedServer, desk: Desk, front: RedisFrontBroker, worker: RedisWorkerBroker
) -> None:
    await front.admit(new_job("held"))
    await front.admit(new_job("waits"))
    waiting = [asyncio.create_task(front.wait(job_id, 30)) for job_id in ("held", "waits")]
    (held,) = worker.take({TASK: 1})
    kill(server)

    start = time.monotonic()
    with pytest.raises(BrokerError, match=r"redis\.sock"):
        await front.admit(new_job("refused"))
    with pytest.raises(BrokerError):
        worker.finish([answer(held)])
    with pytest.raises(BrokerError):
        worker.take({TASK: 1})
    with pytest.raises(BrokerError):
        worker.control(0.01)
    assert time.monotonic() - start < 1

    server.start()
    assert worker.finish([answer(held, b"1")]) == [True]
    worker.finish([answer(claim, b"2") for claim in worker.take({TASK: 5})])
    assert await asyncio.gather(*waiting) == [
        Ending("held", JobState.DONE, b"1"),
        Ending("waits", JobState.DONE, b"2"),
    ]
    await until_admitted(front, "new")
    assert desk.state("refused") is None


async def test_owners_renew_before_anybody_takes_from_them(
    server: EmbeddedServer, desk: Desk, worker: RedisWorkerBroker
) -> None:
    config = BrokerConfig(server.url, lease_s=1.0)  # Redis tells its age in whole seconds
    other = RedisWorkerBroker(config, "other")
    desk.fill("a")
    claims = worker.take({TASK: 1})
    kill(server)
    await asyncio.sleep(2 * config.lease_s)
    server.start()
    assert other.reclaim({TASK: 1}) == [], "the lease ran out while Redis was away"
    assert worker.renew(claims).lost == []
    other.close()


async def test_a_restart_without_its_data_is_told_and_got_over(
    server: EmbeddedServer, desk: Desk, front: RedisFrontBroker, worker: RedisWorkerBroker
) -> None:
    await front.admit(new_job("held"))
    await front.admit(new_job("waits"))
    waiting = [asyncio.create_task(front.wait(job_id, 30)) for job_id in ("held", "waits")]
    claims = worker.take({TASK: 1})
    kill_and_forget(server)
    server.start()

    start = time.monotonic()
    lost = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in lost] == [JobLostError, JobLostError]
    assert time.monotonic() - start < 5

    assert worker.renew(claims).lost == ["held"]
    assert worker.finish([answer(claims[0])]) == [False]
    assert worker.reclaim({}) == []
    worker.hand_back(claims)
    assert worker.take({TASK: 1}, wait_s=0.01) == []
    assert all(depth.waiting == 0 for depth in await front.depths([TASK]))
    await until_admitted(front, "new")
    claims = worker.take({TASK: 5})
    assert ids(claims) == ["new"]
    worker.finish([answer(claim) for claim in claims])
    assert (await front.wait("new", 5)) is not None


@pytest.mark.parametrize("call", ["take", "take that waits", "finish", "renew", "admit"])
async def test_the_group_or_the_scripts_are_missing(
    call: str, desk: Desk, front: RedisFrontBroker, worker: RedisWorkerBroker
) -> None:
    """What a server without its data does not know, at whichever call comes first."""
    desk.fill("a")
    claims = worker.take({TASK: 1})
    desk.redis.flushall()
    desk.redis.script_flush()
    if call == "take":
        assert worker.take({TASK: 1}) == []
    elif call == "take that waits":
        assert worker.take({TASK: 1}, wait_s=0.01) == []
    elif call == "finish":
        assert worker.finish([answer(claims[0])]) == [False]
    elif call == "renew":
        assert worker.renew(claims).lost == ["a"]
    await front.admit(new_job("b"))
    assert ids(worker.take({TASK: 1})) == ["b"]


async def test_a_server_that_hangs_is_given_up(server: EmbeddedServer, front: RedisFrontBroker) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    start = time.monotonic()
    refusals = await asyncio.gather(*(front.admit(new_job(f"job-{i}")) for i in range(300)), return_exceptions=True)
    os.kill(server.pid, signal.SIGCONT)
    assert {type(refusal) for refusal in refusals} == {BrokerError}
    assert time.monotonic() - start < 4, "everybody who queued up meanwhile is told at the same time"
    await until_admitted(front, "new")


async def test_the_api_may_start_before_redis(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    front = RedisFrontBroker(BrokerConfig(server.url), "api")
    with pytest.raises(BrokerError):
        await front.start()
    with server:
        await until_admitted(front, "a")
        waiting = asyncio.create_task(front.wait("a", 30))
        worker = RedisWorkerBroker(BrokerConfig(server.url), "w")
        worker.finish([answer(claim) for claim in worker.take({TASK: 1})])
        assert (await asyncio.wait_for(waiting, 5)) is not None
        worker.close()
        await front.close()


async def test_a_full_memory_refuses_and_forgets_nothing(desk: Desk, front: RedisFrontBroker) -> None:
    await front.admit(new_job("a"))
    desk.redis.config_set("maxmemory", 1)
    with pytest.raises(BrokerError, match="memory"):
        await front.admit(new_job("b"))
    desk.redis.config_set("maxmemory", 0)
    assert await front.admit(new_job("b")) is Admission.ACCEPTED
    assert desk.entries() == ["a", "b"]


async def test_a_password_is_used_and_never_shown(server: EmbeddedServer, desk: Desk) -> None:
    desk.redis.config_set("requirepass", "open sesame")
    secret_url = server.url.replace("unix://", "unix://:open%20sesame@")
    front, worker = RedisFrontBroker(BrokerConfig(secret_url), "api"), RedisWorkerBroker(BrokerConfig(secret_url), "w")
    await front.start()
    await front.admit(new_job("a"))
    assert ids(worker.take({TASK: 1})) == ["a"]
    await front.close()
    worker.close()

    stranger = RedisFrontBroker(BrokerConfig(secret_url.replace("sesame", "wheat")), "api")
    with pytest.raises(BrokerError, match="password") as refused:
        await stranger.start()
    assert "wheat" not in str(refused.value)
    await stranger.close()


class TestLostReplies:
    @pytest.fixture
    def proxy(self, redis_url: str, tmp_path: Path) -> Iterator[SwallowingProxy]:
        with SwallowingProxy(tmp_path / "p.sock", redis_url) as proxy:
            yield proxy

    @pytest.fixture
    def config(self, redis_url: str) -> BrokerConfig:
        return BrokerConfig(redis_url, lease_s=0.3)

    @pytest_asyncio.fixture
    async def far_front(self, proxy: SwallowingProxy) -> AsyncIterator[RedisFrontBroker]:
        front = RedisFrontBroker(BrokerConfig(proxy.url), "api")
        await front.start()
        yield front
        await front.close()

    @pytest.fixture
    def far_worker(self, proxy: SwallowingProxy) -> Iterator[RedisWorkerBroker]:
        worker = RedisWorkerBroker(BrokerConfig(proxy.url, lease_s=0.3), "far")
        yield worker
        worker.close()

    async def test_a_job_is_admitted_once(
        self, proxy: SwallowingProxy, far_front: RedisFrontBroker, desk: Desk, worker: RedisWorkerBroker
    ) -> None:
        proxy.swallow(b"job-7")
        jobs = [f"job-{i}" for i in range(10)]
        await asyncio.gather(*(far_front.admit(new_job(job_id)) for job_id in jobs))
        assert proxy.swallowed == 1
        assert sorted(desk.entries()) == jobs
        worker.finish([answer(claim) for claim in worker.take({TASK: 10})])
        assert all(await asyncio.gather(*(far_front.wait(job_id, 5) for job_id in jobs)))

    async def test_an_idempotency_key_names_the_job_it_made(
        self, proxy: SwallowingProxy, far_front: RedisFrontBroker, desk: Desk
    ) -> None:
        proxy.swallow(b"first")
        receipt = await far_front.submit(new_job("first", idempotency_key="k", body_hash="h"))
        assert proxy.swallowed == 1
        assert receipt.job_id == "first"
        assert desk.entries() == ["first"]

    async def test_an_ending_is_told_once(
        self, proxy: SwallowingProxy, far_worker: RedisWorkerBroker, desk: Desk
    ) -> None:
        desk.fill("a")
        (claim,) = far_worker.take({TASK: 1})
        proxy.swallow(b"the answer")
        assert far_worker.finish([Finished("a", claim.fence, JobState.DONE, b"the answer")]) == [True]
        assert proxy.swallowed == 1
        assert len(desk.replies()) == 1

    async def test_what_a_take_delivered_into_the_void_comes_again(
        self, proxy: SwallowingProxy, far_worker: RedisWorkerBroker, desk: Desk, redis_url: str
    ) -> None:
        desk.fill("a")
        far_worker.take({"another": 1})  # the server knows the script from now on
        proxy.swallow(b"EVAL")
        with pytest.raises(BrokerError):
            far_worker.take({TASK: 1})
        assert proxy.swallowed == 1
        assert desk.state("a") is JobState.RUNNING
        near = RedisWorkerBroker(BrokerConfig(redis_url, lease_s=0.3), "near")
        (claim,) = until(lambda: near.reclaim({TASK: 1}))
        assert near.finish([answer(claim)]) == [True]
        assert desk.is_empty()
        near.close()

    async def test_a_reply_stream_read_that_broke_off_is_read_again(
        self, proxy: SwallowingProxy, far_front: RedisFrontBroker, worker: RedisWorkerBroker
    ) -> None:
        await far_front.admit(new_job("a"))
        await far_front.admit(new_job("b"))
        proxy.swallow(b"XREAD")
        for job_id in ("a", "b"):
            worker.finish([answer(claim) for claim in worker.take({TASK: 1})])
            assert (await far_front.wait(job_id, 10)) is not None
        assert proxy.swallowed == 1
