"""The API's side: waiting for endings, and looking at the queue."""

import asyncio
import time
from collections.abc import Callable

import pytest
from broker_lab import TASK, Desk, answer, ids, new_job

from service.broker.config import BrokerConfig
from service.broker.front import RedisFrontBroker
from service.broker.records import (
    Admission,
    BrokerError,
    ControlMessage,
    Ending,
    JobLostError,
    JobState,
    NewJob,
)
from service.broker.worker import RedisWorkerBroker
from service.schemas import Lane

Hire = Callable[[], RedisWorkerBroker]


async def work(worker: RedisWorkerBroker, room: int = 100) -> list[str]:
    """Take and answer on another thread, as a worker would."""

    def take_and_answer() -> list[str]:
        claims = worker.take({TASK: room})
        worker.finish([answer(claim, claim.id.encode()) for claim in claims])
        return ids(claims)

    return await asyncio.to_thread(take_and_answer)


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks at the records once a minute."""
    monkeypatch.setattr("service.broker.replies._LOOK_EVERY_S", 60.0)


async def test_a_job_goes_round(front: RedisFrontBroker, worker: RedisWorkerBroker) -> None:
    assert await front.admit(new_job("a")) is Admission.ACCEPTED
    await work(worker)
    assert await front.wait("a", 5) == Ending("a", JobState.DONE, b"a")


async def test_the_ending_arrives_at_once(seldom: None, front: RedisFrontBroker, worker: RedisWorkerBroker) -> None:
    await front.admit(new_job("a"))
    waiting = asyncio.create_task(front.wait("a", 30))
    await asyncio.sleep(0.05)
    start = time.monotonic()
    await work(worker)
    assert (await waiting) is not None
    assert time.monotonic() - start < 20, "by the reply stream, not by the look once a minute"


async def test_two_thousand_wait_together(redis_url: str) -> None:
    config = BrokerConfig(redis_url, queue_limit=2000)
    front, worker = RedisFrontBroker(config, "api"), RedisWorkerBroker(config, "w")
    await front.start()

    async def ask(job_id: str) -> Ending | None:
        assert await front.admit(new_job(job_id)) is Admission.ACCEPTED
        return await front.wait(job_id, 60)

    asked = [asyncio.create_task(ask(f"job-{i}")) for i in range(2000)]
    done = 0
    while done < 2000:
        done += len(await work(worker))
    endings = await asyncio.gather(*asked)
    assert [ending.payload for ending in endings if ending] == [f"job-{i}".encode() for i in range(2000)]
    await front.close()
    worker.close()


async def test_waiting_ends_at_its_time_and_may_begin_again(front: RedisFrontBroker, worker: RedisWorkerBroker) -> None:
    await front.admit(new_job("a"))
    assert await front.wait("a", 0.05) is None
    await work(worker)
    assert (await front.wait("a", 5)) is not None


async def test_a_cancelled_wait_disturbs_nobody(front: RedisFrontBroker, worker: RedisWorkerBroker) -> None:
    await front.admit(new_job("a"))
    await front.admit(new_job("b"))
    gone, stays = asyncio.create_task(front.wait("a", 30)), asyncio.create_task(front.wait("b", 30))
    also = asyncio.create_task(front.wait("a", 30))
    await asyncio.sleep(0.05)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await work(worker)
    assert [ending and ending.id for ending in await asyncio.gather(stays, also)] == ["b", "a"]


async def test_a_cancelled_call_disturbs_nobody(front: RedisFrontBroker) -> None:
    calls = [asyncio.create_task(front.admit(new_job(f"job-{i}"))) for i in range(40)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    admissions = await asyncio.gather(*calls, return_exceptions=True)
    assert admissions[1::2] == [Admission.ACCEPTED] * 20
    assert (await front.record("job-39")) is not None


async def test_several_may_wait_for_one_job(front: RedisFrontBroker, worker: RedisWorkerBroker) -> None:
    await front.admit(new_job("a"))
    waiting = [asyncio.create_task(front.wait("a", 30)) for _ in range(3)]
    await asyncio.sleep(0.05)
    await work(worker)
    assert [ending and ending.payload for ending in await asyncio.gather(*waiting)] == [b"a"] * 3


async def test_one_process_waits_for_anothers_job(
    seldom: None, config: BrokerConfig, front: RedisFrontBroker, worker: RedisWorkerBroker
) -> None:
    other = RedisFrontBroker(config, "api-2")
    await other.start()
    first = new_job("a", idempotency_key="k", body_hash="h")
    await front.submit(first)
    receipt = await other.submit(new_job("b", idempotency_key="k", body_hash="h", reply_to="api-2"))
    waiting = asyncio.create_task(other.wait(receipt.job_id, 30))
    await asyncio.sleep(0.05)
    start = time.monotonic()
    await work(worker)
    assert await waiting == await front.wait("a", 5)
    assert time.monotonic() - start < 20
    await other.close()


async def test_an_ended_job_is_answered_at_once(front: RedisFrontBroker, worker: RedisWorkerBroker, desk: Desk) -> None:
    desk.fill("a", reply_to="")
    await work(worker)
    assert await front.wait("a", 5) == Ending("a", JobState.DONE, b"a")


async def test_a_reply_that_was_trimmed_is_found_in_the_record(
    front: RedisFrontBroker, worker: RedisWorkerBroker, desk: Desk
) -> None:
    await front.admit(new_job("a"))
    desk.redis.hset(desk.keys.job("a"), "reply_to", "")
    waiting = asyncio.create_task(front.wait("a", 30))
    await work(worker)
    assert (await asyncio.wait_for(waiting, 5)) is not None


async def test_a_lost_job_is_told(front: RedisFrontBroker, desk: Desk) -> None:
    await front.admit(new_job("a"))
    waiting = asyncio.create_task(front.wait("a", 30))
    await asyncio.sleep(0.05)
    desk.redis.delete(desk.keys.job("a"))
    with pytest.raises(JobLostError):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(JobLostError):
        await front.wait("never-was", 30)


async def test_a_deadline_passes_although_no_worker_lives(front: RedisFrontBroker) -> None:
    await front.admit(new_job("a", timeout_s=0.2))
    ending = await front.wait("a", 10)
    assert ending is not None
    assert ending.state is JobState.FAILED


async def test_cancelling_wakes_the_waiter(front: RedisFrontBroker) -> None:
    await front.admit(new_job("a"))
    waiting = asyncio.create_task(front.wait("a", 30))
    await asyncio.sleep(0.05)
    assert await front.cancel("a")
    assert await waiting == Ending("a", JobState.CANCELLED, b"")


async def test_a_record_shows_the_job_as_it_stands(front: RedisFrontBroker, worker: RedisWorkerBroker) -> None:
    await front.admit(new_job("a", caller="alice"))
    record = await front.record("a")
    assert record is not None
    assert (record.task, record.state, record.caller, record.payload) == (TASK, JobState.QUEUED, "alice", b"")
    assert abs(record.created_s - time.time()) < 60
    await work(worker)
    record = await front.record("a")
    assert record is not None
    assert (record.state, record.payload) == (JobState.DONE, b"a")
    assert await front.record("unknown") is None


async def test_a_record_altered_by_hand_is_as_good_as_none(front: RedisFrontBroker, desk: Desk) -> None:
    await front.admit(new_job("a"))
    desk.redis.hset(desk.keys.job("a"), "state", "§")
    assert await front.record("a") is None


async def test_an_entry_of_the_reply_stream_that_cannot_be_read_is_passed_over(
    front: RedisFrontBroker, worker: RedisWorkerBroker, desk: Desk
) -> None:
    await front.admit(new_job("a"))
    desk.redis.xadd(desk.keys.reply("api"), {"id": "a", "state": "§", "payload": ""})
    desk.redis.xadd(desk.keys.reply("api"), {"nonsense": ""})
    await work(worker)
    assert await front.wait("a", 5) == Ending("a", JobState.DONE, b"a")


async def test_depths_tell_what_waits_and_how_long(front: RedisFrontBroker, worker: RedisWorkerBroker) -> None:
    await front.admit(new_job("h", lane=Lane.HIGH))
    await front.admit(new_job("a"))
    await front.admit(new_job("b"))
    claims = worker.take({TASK: 2})
    assert ids(claims) == ["h", "a"]
    await asyncio.sleep(0.1)
    high, normal, maze_high, maze_normal = await front.depths([TASK, "maze"])
    assert (high.task, high.lane, high.waiting, high.oldest_age_s) == (TASK, Lane.HIGH, 0, 0.0)
    assert (normal.lane, normal.waiting) == (Lane.NORMAL, 1)
    assert 0.1 <= normal.oldest_age_s < 5
    assert (maze_high.waiting, maze_normal.waiting) == (0, 0)
    worker.hand_back(claims)
    assert [depth.waiting for depth in await front.depths([TASK])] == [1, 2]


async def test_workers_are_known_as_long_as_their_lease(front: RedisFrontBroker, redis_url: str, hire: Hire) -> None:
    lasting = BrokerConfig(redis_url, lease_s=60.0)
    first, second = RedisWorkerBroker(lasting, "worker-1"), RedisWorkerBroker(lasting, "worker-2")
    first.announce({"tasks": ["sudoku"], "slots": 64})
    second.announce({})
    one, two = await front.workers()
    assert (one.id, one.description) == ("worker-1", {"tasks": ["sudoku"], "slots": 64})
    assert 0 < one.expires_in_s <= 60
    assert two.id == "worker-2"
    first.retire()
    assert [worker.id for worker in await front.workers()] == ["worker-2"]
    hire().announce({})  # for 0.3 s
    await asyncio.sleep(0.35)
    assert [worker.id for worker in await front.workers()] == ["worker-2"]
    first.close()
    second.close()


async def test_a_word_to_all_workers(front: RedisFrontBroker, hire: Hire) -> None:
    first, second = hire(), hire()
    assert first.control(0.01) == second.control(0.01) == []
    message = ControlMessage("reload", {"task": TASK})
    await front.tell_workers(message)
    assert first.control(5) == second.control(5) == [message]


async def test_rubbish_on_the_control_channel_is_passed_over(
    front: RedisFrontBroker, worker: RedisWorkerBroker, desk: Desk
) -> None:
    worker.control(0.01)
    for rubbish in ("", "[]", "{", '{"kind": "reload"}'):
        desk.redis.publish(desk.keys.control, rubbish)
    await front.tell_workers(ControlMessage("reload", {}))
    assert [message.kind for message in worker.control(5)] == ["reload"]


async def test_a_closed_broker_says_so(config: BrokerConfig) -> None:
    front = RedisFrontBroker(config, "api")
    await front.start()
    await front.admit(new_job("a"))
    waiting = asyncio.create_task(front.wait("a", 30))
    await asyncio.sleep(0.05)
    await front.close()
    with pytest.raises(JobLostError):
        await waiting
    with pytest.raises(BrokerError, match="closed"):
        await front.admit(new_job("b"))


@pytest.mark.parametrize("steps", range(8))
async def test_closing_is_quick_at_any_moment(config: BrokerConfig, worker: RedisWorkerBroker, steps: int) -> None:
    """Also while the reader sends: there a cancellation may get lost on its way through asyncio.wait_for."""
    front = RedisFrontBroker(config, "api")
    await front.start()
    await front.admit(new_job("a"))
    working = asyncio.create_task(work(worker))
    await front.wait("a", 5)
    for _ in range(steps):
        await asyncio.sleep(0)
    closed, _ = await asyncio.wait({asyncio.create_task(front.close())}, timeout=1)
    assert closed, "it still closes"
    await working


async def test_jobs_without_a_waiter_are_not_remembered(front: RedisFrontBroker) -> None:
    """A front that serves jobs for weeks must not grow."""
    kept = front._replies._expected
    await front.admit(new_job("a", reply_to=""))
    assert not kept
    job: NewJob = new_job("b")
    await front.admit(job)
    await front.cancel("b")
    assert not kept
    await front.admit(new_job("c"))
    await front.wait("c", 0.01)
    assert not kept
