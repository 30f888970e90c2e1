"""Jobs that nobody waits for any more: cancelled in the background, as soon as Redis answers."""

from __future__ import annotations

import asyncio
import time
from itertools import islice

from service.broker.pipeline import Pipeline, end_task
from service.broker.records import BrokerError
from service.broker.script import CANCEL

_AT_ONCE = 256
_AGAIN_S = 0.5
_LAST_TRY_S = 0.5


class Abandoned:
    """Cancels for the coroutines of one event loop.

    Of a job whose admission was not answered nobody knows whether it is in, or comes in when Redis goes on; what is
    sent here is sent after it.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._until: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def add(self, job_id: str, within_s: float) -> None:
        """Cancel the job: at once, or when Redis is back, unless that takes longer than `within_s`."""
        self._until[job_id] = time.monotonic() + within_s
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._cancel_all(), name="broker-abandoned")

    def discard(self, job_id: str) -> None:
        """Somebody wants the job after all."""
        self._until.pop(job_id, None)

    async def close(self) -> None:
        """Cancel what can be cancelled at once, and stop."""
        self._closed = True
        if (task := self._task) is not None:
            await asyncio.wait([task], timeout=_LAST_TRY_S)
            await end_task(task)

    async def _cancel_all(self) -> None:
        try:
            while self._until:
                job_ids = list(islice(self._until, _AT_ONCE))
                try:
                    await asyncio.gather(*(self._pipeline.run(CANCEL, job_id) for job_id in job_ids))
                except BrokerError:
                    now = time.monotonic()
                    self._until = {job_id: until for job_id, until in self._until.items() if until > now}
                    await asyncio.sleep(_AGAIN_S)
                else:
                    for job_id in job_ids:
                        self.discard(job_id)
        finally:
            self._task = None
