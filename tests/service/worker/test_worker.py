"""What a worker promises to the queue, with the real loop and a stub in the network's place."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from worker_lab import PUZZLE, TASK, Hired, all_done, states, submit, until

from model.registry import Registry
from model.tasks import get_task
from service.broker.admin import QueueAdmin
from service.broker.config import broker_config
from service.broker.records import BrokerError, Finished, JobState
from service.broker.worker import RedisWorkerBroker
from service.settings import Settings
from tests.conftest import ANSWER, write_tiny
from tests.service.broker.broker_lab import Desk, new_job

Hire = Callable[..., Hired]


def test_every_puzzle_is_answered_once_and_counted_once(desk: Desk, hire: Hire) -> None:
    names = [f"p{n}" for n in range(200)]
    submit(desk, *names)
    workers = [hire(), hire()]
    until(all_done(desk, *names))
    assert sorted(reply["id"] for reply in desk.replies()) == sorted(names)
    answer = json.loads(desk.look("p7")[1])
    assert (answer["id"], answer["solution"], answer["valid"], answer["segments"]) == ("p7", ANSWER, True, 1)
    assert desk.is_empty()
    assert sum(worker.finished("act") for worker in workers) == 200
    assert [worker.occupied for worker in workers] == [0, 0]


def test_a_puzzle_that_is_lost_and_won_again_while_it_sits_in_a_slot_is_answered_once(
    desk: Desk, hire: Hire, admin: QueueAdmin
) -> None:
    worker = hire(is_open=False, segments=3)
    submit(desk, "a")
    until(lambda: worker.gate.waiting)
    admin.hand_over(worker.id)
    until(lambda: desk.job("a")["fence"] == "2")
    worker.gate.let()
    until(all_done(desk, "a"))
    worker.leave()
    assert desk.is_empty()
    assert worker.metric("hrm_duplicate_results_total") == 0


def test_what_was_lost_to_another_worker_frees_its_slot_and_says_nothing(
    desk: Desk, hire: Hire, admin: QueueAdmin
) -> None:
    slow = hire(is_open=False, segments=4000)
    submit(desk, "a", max_segments=4000)
    until(lambda: slow.gate.waiting)
    quick = hire()
    slow.worker.stopping.set()
    slow.gate.let(1)
    until(lambda: slow.segments == 1 and slow.gate.waiting)  # it drains and takes nothing more
    admin.hand_over(slow.id)
    until(all_done(desk, "a"))
    slow.gate.let(5)
    until(lambda: slow.gate.let(1) or slow.occupied == 0)
    assert quick.finished("act") == 1
    assert slow.finished("act") + slow.finished("cancelled") == 0


def test_a_cancelled_puzzle_frees_its_slot_within_one_segment(desk: Desk, hire: Hire) -> None:
    worker = hire(is_open=False, segments=1000)
    submit(desk, "unwanted")
    until(lambda: worker.gate.waiting)
    desk.cancel("unwanted")
    until(lambda: desk.state("unwanted") is JobState.CANCELLED)
    assert worker.occupied == 1
    worker.gate.let(1)
    until(lambda: worker.occupied == 0)
    assert worker.finished("cancelled") == 1
    assert worker.segments <= 2


def test_a_deadline_frees_the_slot_within_one_segment_and_gives_the_best_answer(desk: Desk, hire: Hire) -> None:
    worker = hire(is_open=False, segments=1000, lease_s=30.0)  # it is kept while no segment ends
    submit(desk, "late", within_s=2.0)
    until(lambda: worker.gate.waiting)
    time.sleep(2.05)
    worker.gate.let(1)
    until(lambda: worker.occupied == 0)
    state, payload = until(lambda: found if (found := desk.look("late"))[0].final else None)
    assert (state, json.loads(payload)["answer"]["segments"]) == (JobState.FAILED, 1)
    assert worker.finished("deadline") == 1


def test_what_waits_for_a_slot_keeps_its_lease(desk: Desk, hire: Hire) -> None:
    """Fetched ahead, it waits for a slot through three leases."""
    names = [f"quick{n}" for n in range(8)]
    submit(desk, *names)
    worker = hire(slots=1, segment_s=0.025, lease_s=2.0)
    until(all_done(desk, *names))  # by now it expects a slot to be free soon
    submit(desk, "long", mode="fixed", max_segments=250)
    submit(desk, "next")
    until(lambda: desk.job("next").get("owner") == worker.id)
    hire(lease_s=2.0)  # would take it if it could
    until(all_done(desk, "long", "next"))
    assert [desk.job(name)["fence"] for name in ("long", "next")] == ["1", "1"]


class TestDrain:
    def test_it_finishes_what_sits_and_hands_the_rest_back_at_once(self, desk: Desk, hire: Hire) -> None:
        names = [f"quick{n}" for n in range(8)]
        submit(desk, *names)
        leaving = hire(slots=1, segment_s=0.02, lease_s=30.0)
        until(all_done(desk, *names))
        submit(desk, "seated", mode="fixed", max_segments=250)
        submit(desk, "staged", "waiting")
        until(lambda: leaving.occupied == 1)
        hire(lease_s=30.0)
        leaving.worker.stopping.set()
        until(all_done(desk, "staged", "waiting"))
        assert desk.state("seated") is JobState.RUNNING, "the others did not wait for it"
        until(all_done(desk, "seated"))
        leaving.leave()
        assert desk.job("seated")["fence"] == "1"
        assert "crashes" not in desk.job("staged")

    def test_it_ends_in_time_and_hands_back_what_still_sits(self, desk: Desk, hire: Hire) -> None:
        leaving = hire(slots=2, segment_s=0.05, segments=1000, drain_timeout_s=5.0)
        submit(desk, "a", "b", mode="fixed", max_segments=256)
        until(lambda: leaving.occupied == 2)
        assert leaving.leave() < 8.0, "all their segments would have taken 13 s"
        assert states(desk, "a", "b") == {JobState.QUEUED}
        hire()
        until(all_done(desk, "a", "b"))

    def test_it_is_not_listed_afterwards(self, desk: Desk, hire: Hire) -> None:
        worker = hire()
        until(lambda: desk.redis.zcard("{hrm}:workers") == 1)
        worker.leave()
        assert desk.redis.zcard("{hrm}:workers") == 0

    def test_while_it_loads_it_just_ends(self, hire: Hire) -> None:
        worker = hire()
        worker.worker._loaded = False
        with pytest.raises(SystemExit):
            worker.worker.stop()


class TestBadRecords:
    @pytest.mark.parametrize(
        ("request_", "says"),
        [
            (b"", "cannot be read"),
            (b"\xff\x00", "cannot be read"),
            (b"[1, 2]", "cannot be read"),
            (b'{"task": "sudoku", "puzzle": 7}', "cannot be read"),
            (b'{"task": "maze", "puzzle": "##"}', "is for task 'maze'"),
            (json.dumps({"task": TASK, "puzzle": "55" + PUZZLE[2:]}).encode(), "row 1 holds 5 twice"),
            (json.dumps({"task": TASK, "puzzle": PUZZLE, "puzzle_id": "x"}).encode(), "knows no puzzle identifiers"),
        ],
    )
    def test_an_altered_request_spoils_itself_alone(self, desk: Desk, hire: Hire, request_: bytes, says: str) -> None:
        desk.submit(new_job("odd", request=request_))
        submit(desk, "good")
        worker = hire()
        until(all_done(desk, "good"))
        state, payload = until(lambda: found if (found := desk.look("odd"))[0].final else None)
        assert state is JobState.FAILED
        assert says in json.loads(payload)["detail"]
        assert worker.finished("error") == 1
        assert desk.is_empty()

    @pytest.mark.parametrize("method", ["parse", "format"])
    def test_a_codec_that_fails_spoils_one_puzzle(
        self, desk: Desk, hire: Hire, method: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = hire()
        codec = type(get_task(TASK))
        sound = getattr(codec, method)

        def failing(self, *args, **kwargs):
            if kwargs.get("like", args[0]) == PUZZLE.replace("5", "."):
                raise RuntimeError("a defect")
            return sound(self, *args, **kwargs)

        monkeypatch.setattr(codec, method, failing)
        odd = json.dumps({"task": TASK, "puzzle": PUZZLE.replace("5", ".")}).encode()
        submit(desk, "before")
        desk.submit(new_job("odd", request=odd))
        submit(desk, "after")
        until(all_done(desk, "before", "after"))
        state, payload = until(lambda: found if (found := desk.look("odd"))[0].final else None)
        assert (state, json.loads(payload)["status"]) == (JobState.FAILED, 500)
        assert worker.finished("error") == 1


def test_what_the_queue_ends_by_itself_is_counted(
    desk: Desk, hire: Hire, admin: QueueAdmin, settings: Settings
) -> None:
    submit(desk, "poison")
    for victim in ("v1", "v2", "v3"):
        dies = RedisWorkerBroker(broker_config(settings), victim)
        dies.take({TASK: 1})
        admin.hand_over(victim)
        dies.close()
    submit(desk, "cancelled", "late")
    desk.cancel("cancelled")
    desk.let_deadline_pass("late")
    survivor = hire()
    until(lambda: survivor.finished("poison") == 1)
    until(lambda: survivor.finished("cancelled") == survivor.finished("deadline") == 1)
    assert survivor.metric("hrm_dead_letters_total") == 1
    assert [letter.id for letter in admin.dead_letters(TASK)] == ["poison"]


def test_puzzles_of_a_task_that_nobody_serves_any_more_wait_for_their_deadline(
    desk: Desk, hire: Hire, tmp_path: Path
) -> None:
    write_tiny(tmp_path, "tiny", seed=0)
    Registry([tmp_path]).use(TASK, "tiny")
    worker = hire(checkpoints=tmp_path, is_open=False, slots=1)
    submit(desk, "seated")
    until(lambda: worker.gate.waiting)
    (tmp_path / TASK / "CURRENT").unlink()
    until(lambda: TASK not in worker.worker.describe()["tasks"])
    submit(desk, "waits", within_s=1.0)
    worker.gate.let()
    until(all_done(desk, "seated"))
    until(lambda: desk.state("waits") is JobState.FAILED)
    assert json.loads(desk.look("waits")[1])["status"] == 504
    assert "owner" not in desk.job("waits")


def test_a_loop_that_does_not_go_round_is_noticed(desk: Desk, hire: Hire) -> None:
    worker = hire(is_open=False, stall_timeout_s=1.0)
    time.sleep(1.5)
    assert worker.worker.live() is None, "idle is not stalled"
    submit(desk, "a")
    until(worker.worker.live)
    assert "with 1 live slots" in worker.worker.live()
    until(worker.worker.stuck)
    worker.gate.let()
    until(lambda: worker.worker.live() is None)


def test_an_answer_that_redis_did_not_take_is_told_again_at_once_and_not_at_the_next_renewal(
    desk: Desk, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = hire(lease_s=300.0)  # which is renewed every 100 s
    until(lambda: worker.worker.ready() is None)
    finish, failed = RedisWorkerBroker.finish, []

    def fails_once(self: RedisWorkerBroker, endings: Sequence[Finished]) -> list[bool]:
        if endings and not failed:
            failed.append(endings)
            raise BrokerError("no answer")
        return finish(self, endings)

    monkeypatch.setattr(RedisWorkerBroker, "finish", fails_once)
    submit(desk, "a")
    until(all_done(desk, "a"))
    assert failed
