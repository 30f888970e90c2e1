"""Holding a job, losing it, and giving it up."""

import time
from collections import Counter
from collections.abc import Callable

from broker_lab import NEVER_S, TASK, Desk, answer, ids, new_job, until

from service.broker.admin import QueueAdmin, Requeue
from service.broker.config import BrokerConfig
from service.broker.records import Admission, JobState
from service.broker.worker import RedisWorkerBroker
from service.schemas import Lane

Hire = Callable[[], RedisWorkerBroker]


def test_a_renewed_lease_is_nobody_elses(desk: Desk, hire: Hire, config: BrokerConfig) -> None:
    owner, other = hire(), hire()
    desk.fill("a")
    claims = owner.take({TASK: 1})
    end = time.monotonic() + 3 * config.lease_s
    while time.monotonic() < end:
        assert owner.renew(claims).lost == []
        assert other.reclaim({TASK: 1}) == []
        time.sleep(config.lease_s / 5)


def test_a_lapsed_lease_is_taken_over_and_the_first_owner_told(desk: Desk, hire: Hire) -> None:
    silent, other = hire(), hire()
    desk.fill("a")
    old = silent.take({TASK: 1})
    (new,) = until(lambda: other.reclaim({TASK: 1}))
    assert (new.id, new.fence, new.deliveries) == ("a", 2, 2)
    assert silent.renew(old).lost == ["a"]
    assert silent.finish([answer(old[0], b"late")]) == [False]
    assert other.finish([answer(new, b"right")]) == [True]
    assert desk.look("a") == (JobState.DONE, b"right")
    assert desk.is_empty()


def test_an_answer_that_comes_before_anybody_took_over_counts(desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
    slow = hire()
    desk.fill("a")
    claims = slow.take({TASK: 1})
    admin.hand_over(slow.worker_id)
    assert desk.state("a") is JobState.QUEUED
    assert slow.finish([answer(claims[0])]) == [True]
    assert hire().take({TASK: 1}) == []
    assert desk.is_empty()


def test_reclaiming_without_room_leaves_the_jobs_to_others(desk: Desk, hire: Hire) -> None:
    silent, full, idle = hire(), hire(), hire()
    desk.fill("a")
    silent.take({TASK: 1})
    desk.fill("b")
    until(lambda: full.reclaim({}) or full.tally[TASK, "handed_over"])
    assert ids(idle.take({TASK: 2})) == ["a", "b"], "what was handed over comes first"


def test_reclaimers_wait_one_lease_after_redis_was_away(redis_url: str, desk: Desk) -> None:
    # The server of the tests is much younger than this lease.
    patient = RedisWorkerBroker(BrokerConfig(redis_url, lease_s=NEVER_S), "patient")
    owner = RedisWorkerBroker(BrokerConfig(redis_url, lease_s=NEVER_S), "owner")
    desk.fill("a")
    owner.take({TASK: 1})
    (entry,) = desk.redis.xpending_range(desk.keys.queue(TASK, Lane.NORMAL), "workers", "-", "+", 1)
    desk.redis.xclaim(
        desk.keys.queue(TASK, Lane.NORMAL),
        "workers",
        "owner",
        0,
        [entry["message_id"]],
        idle=int(2 * NEVER_S * 1000),
        justid=True,
    )
    assert patient.reclaim({TASK: 1}) == []
    patient.close()
    owner.close()


def test_handing_back_puts_a_job_first_in_line(desk: Desk, hire: Hire) -> None:
    leaving, other = hire(), hire()
    desk.fill("a", "b", "c")
    claims = leaving.take({TASK: 2})
    leaving.hand_back(claims)
    leaving.hand_back(claims)
    again = other.take({TASK: 3})
    assert ids(again) == ["a", "b", "c"]
    assert [claim.deliveries for claim in again] == [1, 1, 1]
    assert leaving.finish([answer(claims[0])]) == [False]


def test_a_returned_job_that_is_over_does_not_hide_the_next(desk: Desk, hire: Hire) -> None:
    leaving = hire()
    desk.fill("late", "a")
    leaving.hand_back(leaving.take({TASK: 2}))
    desk.let_deadline_pass("late")
    desk.fill("b")
    assert ids(hire().take({TASK: 1})) == ["a"]


class TestCancel:
    def test_a_waiting_job_has_ended_at_once(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        desk.fill("a")
        assert desk.cancel("a")
        assert desk.state("a") is JobState.CANCELLED
        assert desk.entries() == ["a"], "its entry stays until a take comes by"
        assert worker.take({TASK: 1}) == []
        assert desk.is_empty()

    def test_a_running_job_ends_with_its_renewal(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        desk.fill("a")
        claims = worker.take({TASK: 1})
        assert desk.cancel("a")
        assert desk.state("a") is JobState.RUNNING
        assert worker.renew(claims).cancelled == ["a"]
        assert desk.state("a") is JobState.CANCELLED
        assert desk.is_empty()

    def test_its_worker_is_told_at_once(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        worker.control(0.01)
        desk.fill("a")
        claims = worker.take({TASK: 1})
        desk.cancel("a")
        (message,) = worker.control(5)
        assert (message.kind, message.body) == ("cancel", {"id": "a"})
        assert worker.control(0.01) == []
        ending = answer(claims[0])
        assert worker.finish([ending]) == [False], "a cancelled job shows no other ending"
        assert desk.state("a") is JobState.CANCELLED

    def test_an_ended_job_is_not_cancelled(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        desk.fill("a")
        worker.finish([answer(claim) for claim in worker.take({TASK: 1})])
        assert not desk.cancel("a")
        assert not desk.cancel("unknown")
        assert desk.state("a") is JobState.DONE

    def test_a_cancelled_job_is_not_handed_over(self, desk: Desk, worker: RedisWorkerBroker, admin: QueueAdmin) -> None:
        desk.fill("a")
        worker.take({TASK: 1})
        desk.cancel("a")
        assert admin.hand_over(worker.worker_id) == (0, 0)
        assert desk.state("a") is JobState.CANCELLED


class TestCrashes:
    def crash(self, hire: Hire, admin: QueueAdmin) -> tuple[int, int]:
        victim = hire()
        victim.announce({})
        victim.take({TASK: 1})
        return admin.hand_over(victim.worker_id)

    def test_the_supervisor_hands_over_a_dead_childs_jobs_at_once(
        self, desk: Desk, hire: Hire, admin: QueueAdmin
    ) -> None:
        dead, other = hire(), hire()
        desk.fill("a", "b")
        dead.take({TASK: 2})
        assert admin.hand_over(dead.worker_id) == (2, 0)
        assert admin.hand_over(dead.worker_id) == (0, 0)
        assert ids(other.take({TASK: 2})) == ["a", "b"]

    def test_the_third_crash_ends_a_job(self, desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
        desk.fill("poison")
        assert self.crash(hire, admin) == (1, 0)
        assert self.crash(hire, admin) == (1, 0)
        assert self.crash(hire, admin) == (0, 1)
        assert desk.state("poison") is JobState.DEAD
        assert [reply["state"] for reply in desk.replies()] == ["dead"]
        assert desk.is_empty()

    def test_what_the_supervisor_buried_is_told_to_one_worker(self, desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
        desk.fill("poison")
        for _ in range(3):
            self.crash(hire, admin)
        survivors = [hire(), hire()]
        until(lambda: [survivor.reclaim({}) for survivor in survivors] and any(s.tally for s in survivors))
        for survivor in survivors:
            survivor.reclaim({})
        assert sum((survivor.tally for survivor in survivors), Counter()) == {(TASK, "poison"): 1}

    def test_a_job_that_was_only_fetched_ahead_is_not_to_blame(self, desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
        desk.fill("a")
        for _ in range(5):
            victim = hire()
            assert victim.renew(victim.take({TASK: 1}, {TASK: 1}), ahead={"a"}).lost == []
            assert admin.hand_over(victim.worker_id) == (1, 0)
        assert desk.state("a") is JobState.QUEUED

    def test_it_is_once_it_was_seated(self, desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
        desk.fill("a")
        for _ in range(3):
            victim = hire()
            claims = victim.take({TASK: 1}, {TASK: 1})
            victim.renew(claims, ahead={"a"})
            victim.renew(claims)
            admin.hand_over(victim.worker_id)
        assert desk.state("a") is JobState.DEAD

    def test_it_is_not_while_it_waits_for_another_slot(self, desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
        desk.fill("a")
        for _ in range(5):
            victim = hire()
            claims = victim.take({TASK: 1})
            victim.renew(claims)
            victim.renew(claims, ahead={"a"})
            assert admin.hand_over(victim.worker_id) == (1, 0)
        assert desk.state("a") is JobState.QUEUED

    def test_only_the_last_of_a_take_are_ahead(self, desk: Desk, hire: Hire) -> None:
        desk.fill("a", "b", "c")
        hire().take({TASK: 3}, {TASK: 1})
        assert [desk.job(job_id)["seated"] for job_id in "abc"] == ["1", "1", ""]

    def test_nobody_crashes_by_losing_its_own_lease(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        desk.fill("a")
        worker.take({TASK: 1})
        for _ in range(4):
            (claim,) = until(lambda: worker.reclaim({TASK: 1}))
        assert claim.deliveries == 1

    def test_the_dead_are_forgotten(self, desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
        desk.fill("a")
        self.crash(hire, admin)
        consumers = desk.redis.xinfo_consumers(desk.keys.queue(TASK, Lane.NORMAL), "workers")
        assert [consumer["name"] for consumer in consumers] == ["returned"]
        assert desk.redis.zcard("{hrm}:workers") == 0


class TestDeadLetters:
    def bury(self, desk: Desk, hire: Hire, admin: QueueAdmin, job_id: str) -> None:
        desk.fill(job_id, caller="alice", timeout_s=60.0)
        for _ in range(3):
            victim = hire()
            victim.take({TASK: 1})
            admin.hand_over(victim.worker_id)
        assert desk.state(job_id) is JobState.DEAD

    def test_they_are_listed(self, desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
        self.bury(desk, hire, admin, "a")
        self.bury(desk, hire, admin, "b")
        first, second = admin.dead_letters(TASK)
        assert (first.id, second.id, first.task, first.owner) == ("a", "b", TASK, "worker-3")
        assert "crashed" in first.reason
        assert abs(first.died_s - time.time()) < 60
        assert admin.tasks() == [TASK]

    def test_one_gets_another_life(self, desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
        self.bury(desk, hire, admin, "a")
        (letter,) = admin.dead_letters(TASK)
        assert admin.requeue(letter) is Requeue.REQUEUED
        assert admin.requeue(letter) is Requeue.GONE
        worker = hire()
        (claim,) = worker.take({TASK: 1})
        assert (claim.id, claim.request, claim.deliveries) == ("a", new_job("a").request, 1)
        assert claim.fence == 4, "whoever held it in its first life cannot answer"
        assert 59 < claim.deadline_in_s <= 60
        assert worker.finish([answer(claim)]) == [True]
        assert desk.job("a")["caller"] == "alice"

    def test_also_when_its_record_is_gone(self, desk: Desk, hire: Hire, admin: QueueAdmin) -> None:
        self.bury(desk, hire, admin, "a")
        desk.redis.delete(desk.keys.job("a"))
        (letter,) = admin.dead_letters(TASK)
        assert admin.requeue(letter) is Requeue.REQUEUED
        assert ids(hire().take({TASK: 1})) == ["a"]

    def test_not_into_a_full_lane(self, desk: Desk, hire: Hire, admin: QueueAdmin, config: BrokerConfig) -> None:
        self.bury(desk, hire, admin, "a")
        desk.fill(*(f"x{i}" for i in range(config.queue_limit)))
        (letter,) = admin.dead_letters(TASK)
        assert admin.requeue(letter) is Requeue.FULL
        assert desk.submit(new_job("y")).admission is Admission.FULL
        assert len(list(admin.dead_letters(TASK))) == 1
