"""How a job ends, and who hears of it."""

from broker_lab import TASK, Desk, answer, new_job

from service.broker.records import Finished, JobState
from service.broker.worker import RedisWorkerBroker


def test_an_ending_is_kept_told_and_leaves_no_entry(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("a")
    (claim,) = worker.take({TASK: 1})
    assert worker.finish([answer(claim, b'{"solution": 1}')]) == [True]
    assert desk.look("a") == (JobState.DONE, b'{"solution": 1}')
    (reply,) = desk.replies()
    assert reply == {"format_version": "1", "id": "a", "state": "done", "payload": '{"solution": 1}'}
    assert 0 < desk.redis.ttl(desk.keys.reply("api")) <= 60
    assert 0 < desk.redis.ttl(desk.keys.job("a")) <= 60, "keep_s from now on"
    assert "request" not in desk.job("a")
    assert desk.is_empty()


def test_many_end_in_one_call(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("a", "b", "c")
    claims = worker.take({TASK: 3})
    assert worker.finish([answer(claim) for claim in claims]) == [True] * 3
    assert [reply["id"] for reply in desk.replies()] == ["a", "b", "c"]


def test_a_repeated_call_tells_nobody_twice(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("a")
    (claim,) = worker.take({TASK: 1})
    assert worker.finish([answer(claim)]) == [True]
    assert worker.finish([answer(claim)]) == [True]
    assert len(desk.replies()) == 1


def test_a_wrong_fence_or_an_unknown_job_is_dropped(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("a")
    worker.take({TASK: 1})
    wrong = [Finished("a", 7, JobState.DONE, b""), Finished("unknown", 1, JobState.DONE, b"")]
    assert worker.finish(wrong) == [False, False]
    assert desk.state("a") is JobState.RUNNING


def test_a_failure_carries_its_problem(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.fill("a")
    (claim,) = worker.take({TASK: 1})
    worker.finish([Finished("a", claim.fence, JobState.FAILED, b'{"status": 504}')])
    assert desk.look("a") == (JobState.FAILED, b'{"status": 504}')


def test_a_job_nobody_waits_for_writes_no_reply(desk: Desk, worker: RedisWorkerBroker) -> None:
    desk.submit(new_job("a", reply_to=""))
    worker.finish([answer(claim) for claim in worker.take({TASK: 1})])
    assert desk.state("a") is JobState.DONE
    assert not desk.redis.keys("{hrm}:reply:*")


def test_a_job_whose_deadline_passed_while_nobody_took_it_has_failed(desk: Desk) -> None:
    desk.fill("a")
    desk.let_deadline_pass("a")
    state, payload = desk.look("a")
    assert state is JobState.FAILED
    assert b"urn:hrm:problem:deadline" in payload
    assert [reply["state"] for reply in desk.replies()] == ["failed"]


def test_nothing_to_say_is_no_call(worker: RedisWorkerBroker) -> None:
    assert worker.finish([]) == []
    assert worker.renew([]).lost == ()
    worker.hand_back([])
