"""What the tests of the queue share."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import redis

from service.broker import problems
from service.broker.calls import Calls
from service.broker.config import BrokerConfig
from service.broker.front import admit_arguments, read_receipt
from service.broker.keys import Keys
from service.broker.records import Admission, Claim, Finished, JobState, NewJob, Receipt
from service.broker.script import ADMIT, CANCEL, DEPTHS, LOOK
from service.schemas import Lane

TASK = "sudoku"
NEVER_S = 3600.0


def new_job(job_id: str, **changes: Any) -> NewJob:
    job = NewJob(
        id=job_id,
        task=TASK,
        lane=Lane.NORMAL,
        request=b'{"puzzle": "' + job_id.encode() + b'"}',
        timeout_s=NEVER_S,
        reply_to="api",
        keep_s=60.0,
    )
    return dataclasses.replace(job, **changes)


def answer(claim: Claim, payload: bytes = b"{}") -> Finished:
    return Finished(claim.id, claim.fence, JobState.DONE, payload)


def ids(claims: list[Claim]) -> list[str]:
    return [claim.id for claim in claims]


def until(condition: Callable[[], Any], within_s: float = 5.0) -> Any:
    """The first true value of the condition."""
    end = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)
    return value


class Desk:
    """The API's scripts without asyncio, and a look behind the scenes."""

    def __init__(self, config: BrokerConfig) -> None:
        self.config = config
        self.keys = Keys(config.namespace)
        self.redis = redis.Redis.from_url(config.url, decode_responses=True, protocol=2)
        self._calls = Calls(redis.Redis.from_url(config.url, protocol=2), url=config.url, tag=self.keys.tag)

    def close(self) -> None:
        self.redis.close()
        self._calls.close()

    def submit(self, job: NewJob) -> Receipt:
        return read_receipt(self._calls.run(ADMIT, *admit_arguments(job, self.config.queue_limit)))

    def fill(self, *job_ids: str, **changes: Any) -> None:
        for job_id in job_ids:
            assert self.submit(new_job(job_id, **changes)).admission is Admission.ACCEPTED

    def cancel(self, job_id: str) -> bool:
        return bool(self._calls.run(CANCEL, job_id))

    def look(self, job_id: str) -> tuple[JobState, bytes] | None:
        (fields,) = self._calls.run(LOOK, problems.DEADLINE, job_id)
        return (JobState(fields[1].decode()), fields[3]) if fields else None

    def state(self, job_id: str) -> JobState | None:
        found = self.look(job_id)
        return found[0] if found else None

    def job(self, job_id: str) -> dict[str, str]:
        return self.redis.hgetall(self.keys.job(job_id))

    def let_deadline_pass(self, job_id: str) -> None:
        self.redis.hset(self.keys.job(job_id), "deadline_ms", 1)

    def entries(self, lane: Lane = Lane.NORMAL, task: str = TASK) -> list[str]:
        """The job ids in the lane's stream, held or not."""
        return [fields["id"] for _, fields in self.redis.xrange(self.keys.queue(task, lane))]

    def depth(self, lane: Lane = Lane.NORMAL, task: str = TASK) -> int:
        """What waits in a lane, as the API is told."""
        depths = {(name, found): waiting for name, found, waiting, _ in self._calls.run(DEPTHS, task)}
        return depths[task.encode(), lane.encode()]

    def replies(self, process: str = "api") -> list[dict[str, str]]:
        return [fields for _, fields in self.redis.xrange(self.keys.reply(process))]

    def is_empty(self, task: str = TASK) -> bool:
        """Nothing waits and nobody holds anything."""
        queues = [self.keys.queue(task, lane) for lane in Lane]
        held = [self.redis.xpending(queue, "workers")["pending"] for queue in queues if self.redis.exists(queue)]
        return not any(held) and not any(self.redis.xlen(queue) for queue in queues)
