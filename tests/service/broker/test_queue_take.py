"""Who gets what, and in which order."""

import threading
import time
from collections.abc import Callable

import pytest
from broker_lab import TASK, Desk, answer, ids, new_job, until

from service.broker.admin import QueueAdmin
from service.broker.config import BrokerConfig
from service.broker.records import Admission, JobState
from service.broker.worker import RedisWorkerBroker
from service.schemas import Lane

Hire = Callable[[], RedisWorkerBroker]


def test_a_claim_says_all_about_the_job(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("a", lane=Lane.HIGH, trace_context="00-1-2-01", timeout_s=30)
    (claim,) = worker.take({TASK: 1})
    assert (claim.id, claim.task, claim.lane, claim.request) == ("a", TASK, Lane.HIGH, new_job("a").request)
    assert (claim.fence, claim.deliveries, claim.trace_context) == (1, 1, "00-1-2-01")
    assert 29 < claim.deadline_in_s <= 30
    assert 0 <= claim.waited_s < 1
    assert desk.state("a") is JobState.RUNNING


def test_first_come_first_served_as_far_as_there_is_room(desk: Desk, hire: Hire) -> None:
    desk.fill("a", "b", "c")
    assert ids(hire().take({TASK: 2})) == ["a", "b"]
    assert ids(hire().take({TASK: 2})) == ["c"]
    assert hire().take({TASK: 2}) == []


def test_every_task_has_its_own_room(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("s1", "s2")
    desk.fill("m1", "m2", task="maze")
    assert ids(worker.take({TASK: 1, "maze": 2, "arc": 3})) == ["s1", "m1", "m2"]
    assert worker.take({TASK: 0}) == []
    assert worker.take({}) == []


def test_after_four_of_the_high_lane_comes_one_of_the_normal_lane(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill(*(f"high-{i}" for i in range(9)), lane=Lane.HIGH)
    desk.fill(*(f"normal-{i}" for i in range(3)))
    order = "".join(claim.lane[0] for claim in worker.take({TASK: 20}))
    assert order == "hhhhnhhhhnhn"


@pytest.mark.parametrize("room", [1, 2, 3, 7])
def test_the_lanes_take_turns_across_small_takes(desk: Desk, worker: RedisWorkerBroker, room: int) -> None:
    desk.fill(*(f"high-{i}" for i in range(25)), lane=Lane.HIGH)
    desk.fill(*(f"normal-{i}" for i in range(25)))
    order = ""
    while len(order) < 25:
        order += "".join(claim.lane[0] for claim in worker.take({TASK: room}))
    assert order[:25] == "hhhhn" * 5


def test_what_is_over_is_skipped(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("cancelled", "late", "gone", "a", "b")
    desk.cancel("cancelled")
    desk.let_deadline_pass("late")
    desk.redis.delete(desk.keys.job("gone"))
    assert ids(worker.take({TASK: 2})) == ["a", "b"]
    assert desk.entries() == ["a", "b"]
    assert desk.state("late") is JobState.FAILED
    assert {reply["id"]: reply["state"] for reply in desk.replies()} == {"cancelled": "cancelled", "late": "failed"}
    assert worker.tally == {(TASK, "deadline"): 1, (TASK, "cancelled"): 1}


def test_many_cancelled_jobs_do_not_hide_the_living_one(redis_url: str) -> None:
    config = BrokerConfig(redis_url, queue_limit=2000)
    desk, worker = Desk(config), RedisWorkerBroker(config, "w")
    doomed = [f"x{i}" for i in range(1200)]
    desk.fill(*doomed, "a")
    for job_id in doomed:
        desk.cancel(job_id)
    assert ids(until(lambda: worker.take({TASK: 1}))) == ["a"]
    desk.close()
    worker.close()


def test_a_job_of_a_newer_version_goes_to_the_dead_letters(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("future", "a")
    desk.redis.hset(desk.keys.job("future"), "format_version", 99)
    assert ids(worker.take({TASK: 2})) == ["a"]
    assert desk.state("future") is JobState.DEAD
    assert desk.redis.xlen(desk.keys.dead(TASK)) == 1
    assert worker.tally == {(TASK, "unreadable"): 1}


@pytest.mark.parametrize("when", ["it waits", "it runs"])
@pytest.mark.parametrize("rubbish", ["", "§ rubbish", "-1", "1.5", "1e300", "nan", "inf"])
def test_a_record_altered_by_hand_spoils_nobody_elses_day(
    desk: Desk, worker: RedisWorkerBroker, admin: QueueAdmin, rubbish: str, when: str
) -> None:
    desk.fill("sound")
    fields = list(desk.job("sound"))
    desk.fill(*fields, caller="alice", quota=100)
    if when == "it waits":
        alter_each(desk, fields, rubbish)
    claims = worker.take({TASK: 50})
    if when == "it runs":
        alter_each(desk, fields, rubbish)
    worker.renew(claims)
    worker.hand_back(claims[1::2])
    claims = claims[::2] + worker.take({TASK: 50})
    worker.finish([answer(claim) for claim in claims])
    admin.hand_over(worker.worker_id)
    for job_id in fields:
        desk.look(job_id)
        desk.cancel(job_id)
    assert desk.state("sound") is JobState.DONE
    assert "request" in fields
    desk.fill("next")
    assert "next" in ids(worker.take({TASK: 50}))


def alter_each(desk: Desk, fields: list[str], rubbish: str) -> None:
    """Of each job that is called like a field, that field."""
    for field in fields:
        desk.redis.hset(desk.keys.job(field), field, rubbish)


def test_a_record_that_is_no_record(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("odd", "a")
    desk.redis.delete(desk.keys.job("odd"))
    desk.redis.set(desk.keys.job("odd"), "a string")
    desk.redis.xadd(desk.keys.queue(TASK, Lane.NORMAL), {"what": ""})
    assert ids(worker.take({TASK: 3})) == ["a"]
    assert desk.entries() == ["a"]


def test_many_threads_never_get_the_same_job(config: BrokerConfig, desk: Desk, hire: Hire) -> None:
    desk.fill(*(f"n{i}" for i in range(50)))
    desk.fill(*(f"h{i}" for i in range(50)), lane=Lane.HIGH)
    got: list[str] = []

    def work(worker: RedisWorkerBroker) -> None:
        while claims := worker.take({TASK: 3}):
            got.extend(ids(claims))
            assert all(worker.finish([answer(claim) for claim in claims]))

    threads = [threading.Thread(target=work, args=(hire(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 100
    assert desk.is_empty()


class TestWaiting:
    def test_it_ends_with_the_next_job(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        assert worker.take({TASK: 1}) == []
        threading.Timer(0.1, desk.fill, ["a"]).start()
        start = time.monotonic()
        assert ids(worker.take({TASK: 1, "maze": 1}, wait_s=5)) == ["a"]
        assert time.monotonic() - start < 4

    def test_it_does_not_miss_what_came_after_the_take(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        worker.take({TASK: 1})
        desk.fill("a")
        start = time.monotonic()
        assert ids(worker.take({TASK: 1}, wait_s=5)) == ["a"]
        assert time.monotonic() - start < 4

    def test_it_ends_at_its_time(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        desk.fill("a")
        worker.take({TASK: 2})
        start = time.monotonic()
        assert worker.take({TASK: 1}, wait_s=0.2) == []
        assert 0.15 < time.monotonic() - start < 5

    def test_what_others_hold_does_not_wake_anybody_twice(self, desk: Desk, hire: Hire) -> None:
        busy, idle = hire(), hire()
        idle.take({TASK: 1})
        desk.fill("a")
        busy.take({TASK: 1})
        idle.take({TASK: 1})
        start = time.monotonic()
        assert idle.take({TASK: 1}, wait_s=0.2) == []
        assert time.monotonic() - start > 0.15

    @pytest.mark.parametrize("way", ["handed back", "handed over"])
    def test_it_ends_when_something_comes_back(self, desk: Desk, hire: Hire, admin: QueueAdmin, way: str) -> None:
        leaving, idle = hire(), hire()
        desk.fill("a")
        claims = leaving.take({TASK: 1})
        idle.take({TASK: 1})
        if way == "handed back":
            threading.Timer(0.1, leaving.hand_back, [claims]).start()
        else:
            threading.Timer(0.1, admin.hand_over, [leaving.worker_id]).start()
        start = time.monotonic()
        assert ids(idle.take({TASK: 1}, wait_s=5)) == ["a"]
        assert time.monotonic() - start < 4

    def test_no_waiting_where_a_full_take_left_something(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        desk.fill("a", "b")
        worker.take({TASK: 1})
        start = time.monotonic()
        assert ids(worker.take({TASK: 1}, wait_s=5)) == ["b"]
        assert time.monotonic() - start < 4

    def test_a_job_is_taken_before_whoever_enqueued_it_can_look(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        """The server goes from the end of the wait to the take by itself."""
        worker.take({TASK: 2})
        for job_id in "abc":
            waiting = threading.Thread(target=worker.take, args=({TASK: 2},), kwargs={"wait_s": 5})
            waiting.start()
            until(lambda: any("b" in client["flags"] for client in desk.redis.client_list()))  # it is blocked
            desk.fill(job_id)
            assert desk.state(job_id) is JobState.RUNNING
            waiting.join()


def test_a_task_nobody_ever_asked_about_is_no_error(worker: RedisWorkerBroker, desk: Desk) -> None:
    assert worker.take({"new": 1}) == []
    assert desk.submit(new_job("a", task="new")).admission is Admission.ACCEPTED
    assert ids(worker.take({"new": 1})) == ["a"]
