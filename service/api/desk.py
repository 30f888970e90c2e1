"""The desk between HTTP and the queue: puzzles are handed in, endings are waited for, and it closes in good order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from service.api.errors import ApiError
from service.broker.records import (
    Admission,
    BrokerError,
    ControlMessage,
    Depth,
    Ending,
    FrontBroker,
    JobLostError,
    JobRecord,
    NewJob,
    Receipt,
    WorkerRecord,
)
from service.metrics import ApiMetrics
from service.problems import ProblemKind

_GRACE_S = 1.0
"""How long after the deadline a worker may still say what it had: it looks at the clock once a segment."""

_ROOM_PAUSE_S = 0.1
_AWAY_RETRY_S = 2.0
_DRAIN_RETRY_S = 5.0
_DRAIN_LOOK_S = 0.1

log = logging.getLogger(__name__)


class Desk:
    """All that the routes want from the queue; what goes wrong there is raised as ApiError."""

    def __init__(self, broker: FrontBroker, metrics: ApiMetrics) -> None:
        self._broker = broker
        self._metrics = metrics
        self._waiters: set[asyncio.Task[Any]] = set()
        self._abandoning = False
        self.draining = False

    @property
    def reply_to(self) -> str:
        """Where endings must be sent for this process to see them."""
        return self._broker.reply_to

    async def admit(self, job: NewJob, patience_s: float = 0.0) -> Receipt:
        """Hand a job in, now or as soon as there is room within `patience_s`.

        The receipt names another job where this one repeats an earlier request.
        """
        give_up = time.monotonic() + patience_s
        while True:
            if self.draining:
                raise self._refusal(ProblemKind.DRAINING, "the server is shutting down", _DRAIN_RETRY_S)
            with self._asking("submit"):
                receipt = await self._broker.submit(job)
            wants_room = receipt.admission in (Admission.FULL, Admission.OVER_QUOTA)
            if not wants_room or time.monotonic() >= give_up:
                break
            await asyncio.sleep(_ROOM_PAUSE_S)
        match receipt.admission:
            case Admission.FULL:
                raise self._refusal(
                    ProblemKind.QUEUE_FULL, f"the queue of task {job.task!r} is full", receipt.retry_after_s
                )
            case Admission.OVER_QUOTA:
                raise self._refusal(
                    ProblemKind.OVER_QUOTA, f"{job.caller} has {job.quota} unfinished puzzles", receipt.retry_after_s
                )
            case Admission.CONFLICT:
                raise ApiError(
                    ProblemKind.IDEMPOTENCY_KEY_REUSED, "a request with another body or path had this Idempotency-Key"
                )
            case Admission.EXPIRED:
                raise ApiError(ProblemKind.DEADLINE, "the deadline had passed before the puzzle reached the queue")
        return receipt

    async def ending(self, job_id: str, timeout_s: float, *, keep: bool) -> Ending:
        """How a job ends. Unless `keep`, it is cancelled when its ending is not waited for to the end."""
        waiter = asyncio.current_task()
        assert waiter is not None  # noqa: S101 (a coroutine runs in a task)
        self._waiters.add(waiter)
        ending = None
        try:
            with self._asking("wait"):
                ending = await self._broker.wait(job_id, timeout_s + _GRACE_S)
        except JobLostError:
            raise ApiError(ProblemKind.JOB_LOST, f"the queue lost job {job_id}", retry_after_s=1.0) from None
        except asyncio.CancelledError:
            if self._abandoning and waiter.uncancel() == 0:
                raise ApiError(
                    ProblemKind.DRAINING, "the server shut down before the answer came", retry_after_s=_DRAIN_RETRY_S
                ) from None
            raise
        finally:
            self._waiters.discard(waiter)
            if ending is None and not keep:
                self._broker.abandon(job_id, timeout_s)
        if ending is None:
            raise ApiError(ProblemKind.DEADLINE, f"no answer within {timeout_s:g} s")
        return ending

    async def record(self, job_id: str, caller: str) -> JobRecord:
        """A job of this caller's, as it stands; another's does not exist for them."""
        with self._asking("record"):
            record = await self._broker.record(job_id)
        if record is None or record.caller != caller:
            raise ApiError(ProblemKind.UNKNOWN_JOB, f"no job {job_id!r}; it may have expired")
        return record

    async def cancel(self, job_id: str) -> None:
        """Mark a job cancelled; one that has ended stays as it is."""
        with self._asking("cancel"):
            await self._broker.cancel(job_id)

    async def depths(self, tasks: Sequence[str]) -> list[Depth]:
        """What waits, lane by lane."""
        with self._asking("depths"):
            return await self._broker.depths(tasks)

    async def workers(self) -> list[WorkerRecord]:
        """Who is alive."""
        with self._asking("workers"):
            return await self._broker.workers()

    async def announce_reload(self, task: str) -> None:
        """Tell the workers that a task's CURRENT moved; one that misses it finds out by itself."""
        with suppress(BrokerError):
            await self._broker.tell_workers(ControlMessage("reload", {"task": task}))

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more, and return when nobody waits here any more.

        After `timeout_s`, or when no worker is left to answer, whoever still waits is told to come again.
        """
        self.draining = True
        give_up = time.monotonic() + timeout_s
        while self._waiters and time.monotonic() < give_up and await self._somebody_works():
            await asyncio.sleep(_DRAIN_LOOK_S)
        self.abandon()

    def abandon(self) -> None:
        """Tell whoever still waits to come again."""
        if self._waiters:
            log.warning("shutting down turns away requests that are still waited for: %d", len(self._waiters))
        self._abandoning = True
        for waiter in self._waiters:
            waiter.cancel()

    async def _somebody_works(self) -> bool:
        try:
            return bool(await self.workers())
        except ApiError:  # Redis may come back in time
            return True

    def _refusal(self, kind: ProblemKind, detail: str, retry_after_s: float) -> ApiError:
        self._metrics.admission_rejected.labels(kind.name.lower()).inc()
        return ApiError(kind, detail, retry_after_s=retry_after_s)

    @contextmanager
    def _asking(self, operation: str) -> Iterator[None]:
        try:
            yield
        except BrokerError as error:
            log.debug("Redis: %s", error)
            self._metrics.redis_errors.labels(operation).inc()
            detail = "Redis does not answer; the server goes on as soon as it does"
            if operation == "submit":
                raise self._refusal(ProblemKind.QUEUE_AWAY, detail, _AWAY_RETRY_S) from error
            raise ApiError(ProblemKind.QUEUE_AWAY, detail, retry_after_s=_AWAY_RETRY_S) from error
