"""What gets in, and what does not."""

import dataclasses

import pytest
from broker_lab import TASK, Desk, answer, ids, new_job

from service.broker.config import BrokerConfig
from service.broker.records import Admission, JobState
from service.broker.worker import RedisWorkerBroker
from service.schemas import Lane


def test_an_admitted_job_waits_in_its_lane(desk: Desk) -> None:
    assert desk.submit(new_job("a", lane=Lane.HIGH)).admission is Admission.ACCEPTED
    assert desk.entries(Lane.HIGH) == ["a"]
    assert desk.state("a") is JobState.QUEUED
    assert desk.job("a")["format_version"] == "1"
    assert 3600 < desk.redis.ttl(desk.keys.job("a")) <= 3600 + 60 + 60


def test_the_same_call_twice_makes_one_job(desk: Desk) -> None:
    desk.fill("a")
    assert desk.submit(new_job("a")).admission is Admission.KNOWN
    assert desk.entries() == ["a"]


def test_a_full_lane_refuses_and_says_when_to_come_again(redis_url: str) -> None:
    desk = Desk(BrokerConfig(redis_url, queue_limit=2))
    desk.fill("a", "b")
    refused = desk.submit(new_job("c"))
    assert refused.admission is Admission.FULL
    assert refused.retry_after_s == 60.0, "nothing has ever ended here"
    assert desk.state("c") is None
    assert desk.submit(new_job("d", lane=Lane.HIGH)).admission is Admission.ACCEPTED, "the other lane has room"
    desk.close()


def test_retry_after_follows_the_completion_rate(redis_url: str) -> None:
    config = BrokerConfig(redis_url, queue_limit=40)
    desk, worker = Desk(config), RedisWorkerBroker(config, "w")
    desk.fill(*(f"done-{i}" for i in range(20)))
    worker.finish([answer(claim) for claim in worker.take({TASK: 20})])
    desk.fill(*(f"waits-{i}" for i in range(40)))
    assert 1.0 <= desk.submit(new_job("x")).retry_after_s <= 5.0, "20 ended within the last second, 40 wait"
    desk.close()
    worker.close()


def test_held_jobs_do_not_count_as_waiting(redis_url: str) -> None:
    config = BrokerConfig(redis_url, queue_limit=1)
    desk, worker = Desk(config), RedisWorkerBroker(config, "w")
    desk.fill("a")
    claims = worker.take({TASK: 1})
    desk.fill("b")
    assert desk.submit(new_job("c")).admission is Admission.FULL
    worker.hand_back(claims)
    assert ids(worker.take({TASK: 2})) == ["a", "b"]
    desk.fill("c")
    desk.close()
    worker.close()


def test_a_full_lane_without_workers_makes_room_for_what_can_still_be_done(redis_url: str) -> None:
    desk = Desk(BrokerConfig(redis_url, queue_limit=3))
    desk.fill("cancelled", "late", "alive")
    desk.cancel("cancelled")
    desk.let_deadline_pass("late")
    desk.fill("new", "newer")
    assert desk.entries() == ["alive", "new", "newer"]
    assert desk.state("late") is JobState.FAILED
    assert b"deadline" in desk.look("late")[1]
    assert desk.submit(new_job("x")).admission is Admission.FULL
    desk.close()


def test_what_was_cancelled_behind_hundreds_of_live_jobs_makes_room_too(redis_url: str) -> None:
    desk = Desk(BrokerConfig(redis_url, queue_limit=900))
    desk.fill(*(f"alive-{i}" for i in range(600)), *(f"cancelled-{i}" for i in range(300)))
    for i in range(300):
        desk.cancel(f"cancelled-{i}")
    tries = tries_until_accepted(desk, "new")
    assert tries <= 3, "each goes a page further"
    assert desk.depth() == 601
    desk.close()


def test_what_is_cancelled_behind_the_sweep_is_found_by_the_next_round(redis_url: str) -> None:
    desk = Desk(BrokerConfig(redis_url, queue_limit=600))
    desk.fill(*(f"alive-{i}" for i in range(600)))
    assert desk.submit(new_job("new")).admission is Admission.FULL
    desk.cancel("alive-0")
    assert tries_until_accepted(desk, "new") <= 3
    desk.close()


def test_a_lane_that_is_full_does_not_keep_the_other_from_making_room(redis_url: str) -> None:
    desk = Desk(BrokerConfig(redis_url, queue_limit=1))
    desk.fill("alive")
    desk.fill("cancelled", lane=Lane.HIGH)
    desk.cancel("cancelled")
    assert desk.submit(new_job("x")).admission is Admission.FULL
    desk.fill("new", lane=Lane.HIGH)
    desk.close()


def test_a_sweep_that_workers_overtook_leaves_alone_what_they_hold(redis_url: str) -> None:
    config = BrokerConfig(redis_url, queue_limit=600)
    desk, worker = Desk(config), RedisWorkerBroker(config, "w")
    desk.fill(*(f"early-{i}" for i in range(600)))
    assert desk.submit(new_job("new")).admission is Admission.FULL, "the sweep came to early-499"
    assert len(worker.take({TASK: 600})) == 600
    desk.let_deadline_pass("early-550")
    desk.fill(*(f"waits-{i}" for i in range(600)))
    desk.cancel("waits-0")
    tries_until_accepted(desk, "new")
    assert desk.state("early-550") is JobState.RUNNING, "its worker may still say what it has"
    desk.close()
    worker.close()


def tries_until_accepted(desk: Desk, job_id: str) -> int:
    """How many sweeps it takes: a try a second."""
    for tries in range(1, 6):
        if desk.submit(new_job(job_id)).admission is Admission.ACCEPTED:
            return tries
        desk.redis.hdel(f"{desk.keys.tag}:task:{TASK}", "swept_ms:normal")  # a second passes
    raise AssertionError("never")


def test_a_deadline_that_has_passed_is_refused(desk: Desk) -> None:
    assert desk.submit(new_job("a", timeout_s=0.0)).admission is Admission.EXPIRED
    assert desk.entries() == []


class TestIdempotency:
    FIRST = new_job("first", caller="alice", idempotency_key="k", body_hash="h1")

    def again(self, **changes: object) -> object:
        return dataclasses.replace(self.FIRST, id="second", **changes)

    def test_a_repeated_request_finds_the_first_job(self, desk: Desk) -> None:
        desk.submit(self.FIRST)
        receipt = desk.submit(self.again())
        assert (receipt.admission, receipt.job_id) == (Admission.KNOWN, "first")
        assert desk.entries() == ["first"]

    def test_also_after_it_ended(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        desk.submit(self.FIRST)
        worker.finish([answer(claim) for claim in worker.take({TASK: 1})])
        assert desk.submit(self.again()).job_id == "first"

    def test_another_body_is_a_conflict(self, desk: Desk) -> None:
        desk.submit(self.FIRST)
        receipt = desk.submit(self.again(body_hash="h2"))
        assert (receipt.admission, receipt.job_id) == (Admission.CONFLICT, "first")

    @pytest.mark.parametrize("change", [{"caller": "bob"}, {"idempotency_key": "other"}])
    def test_another_caller_or_key_is_another_job(self, desk: Desk, change: dict[str, str]) -> None:
        desk.submit(self.FIRST)
        assert desk.submit(self.again(**change)).admission is Admission.ACCEPTED

    def test_a_request_of_many_jobs_finds_each_of_them_again(self, desk: Desk) -> None:
        for place in "01":
            desk.submit(dataclasses.replace(self.FIRST, id=f"at-{place}", place=place))
        assert [desk.submit(self.again(place=place)).job_id for place in "01"] == ["at-0", "at-1"]
        assert desk.submit(self.again(place="2")).admission is Admission.ACCEPTED, "it had been cut off there"

    @pytest.mark.parametrize(("first", "other"), [("", "0"), ("0", ""), ("1", "0")])
    def test_another_request_is_a_conflict_whichever_of_its_jobs_comes_first(
        self, desk: Desk, first: str, other: str
    ) -> None:
        desk.submit(dataclasses.replace(self.FIRST, place=first))
        assert desk.submit(self.again(place=other, body_hash="h2")).admission is Admission.CONFLICT

    def test_a_request_of_many_jobs_keeps_its_key_until_the_last_is_gone(self, desk: Desk) -> None:
        for place in "01":
            desk.submit(dataclasses.replace(self.FIRST, id=f"at-{place}", place=place))
        desk.redis.delete(desk.keys.job("at-0"))
        assert desk.submit(self.again(body_hash="h2")).admission is Admission.CONFLICT
        desk.redis.delete(desk.keys.job("at-1"))
        assert desk.submit(self.again(body_hash="h2")).admission is Admission.ACCEPTED

    @pytest.mark.parametrize("key", ["k/0", "k0", "k 0", "k:0"])
    def test_no_key_is_taken_for_a_place_in_a_request(self, desk: Desk, key: str) -> None:
        desk.submit(dataclasses.replace(self.FIRST, place="0"))
        assert desk.submit(self.again(idempotency_key=key, body_hash="h2")).admission is Admission.ACCEPTED

    def test_a_key_whose_job_is_gone_is_free(self, desk: Desk) -> None:
        desk.submit(self.FIRST)
        desk.redis.delete(desk.keys.job("first"))
        assert desk.submit(self.again()).admission is Admission.ACCEPTED

    def test_a_refused_request_does_not_use_up_its_key(self, desk: Desk) -> None:
        desk.submit(dataclasses.replace(self.FIRST, timeout_s=0.0))
        assert desk.submit(self.again()).admission is Admission.ACCEPTED

    def test_whoever_repeats_is_told_the_ending_too(self, desk: Desk, worker: RedisWorkerBroker) -> None:
        desk.submit(self.FIRST)
        desk.submit(self.again(reply_to="api-2"))
        desk.submit(self.again(reply_to="api-2"))
        worker.finish([answer(claim) for claim in worker.take({TASK: 1})])
        assert [reply["id"] for reply in desk.replies("api")] == ["first"]
        assert [reply["id"] for reply in desk.replies("api-2")] == ["first"]


class TestQuota:
    def test_a_caller_has_so_many_unfinished_jobs(self, desk: Desk) -> None:
        desk.fill("a", "b", caller="alice", quota=2)
        assert desk.submit(new_job("c", caller="alice", quota=2)).admission is Admission.OVER_QUOTA
        desk.fill("d", caller="bob", quota=2)

    @pytest.mark.parametrize("end", ["finish", "cancel", "deadline"])
    def test_an_ended_job_frees_its_place(self, desk: Desk, worker: RedisWorkerBroker, end: str) -> None:
        desk.fill("a", caller="alice", quota=1)
        if end == "finish":
            worker.finish([answer(claim) for claim in worker.take({TASK: 1})])
        elif end == "cancel":
            desk.cancel("a")
        else:
            desk.let_deadline_pass("a")
            worker.take({TASK: 1})
        assert desk.submit(new_job("b", caller="alice", quota=1)).admission is Admission.ACCEPTED
