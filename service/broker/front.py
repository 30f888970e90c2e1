"""The API's side of the queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.broker import problems
from service.broker.abandoned import Abandoned
from service.broker.config import BrokerConfig
from service.broker.keys import Keys
from service.broker.pipeline import Pipeline
from service.broker.records import (
    FORMAT_VERSION,
    Admission,
    BrokerError,
    ControlMessage,
    Depth,
    Ending,
    JobRecord,
    JobState,
    NewJob,
    Receipt,
    WorkerRecord,
)
from service.broker.replies import Replies
from service.broker.script import ADMIT, CANCEL, DEPTHS, LOOK, WORKERS, Command
from service.schemas import Lane


class RedisFrontBroker:
    """Enqueues jobs for one API process and waits for their endings; see FrontBroker.

    Made and used in one event loop.
    """

    def __init__(self, config: BrokerConfig, process_id: str) -> None:
        """Connect in `start`.

        Args:
            config: The deployment's numbers.
            process_id: Names this process' reply stream; no other process' id, and without white space.

        Raises:
            ValueError: The URL is not one of a Redis.
        """
        self._config = config
        self._process_id = process_id
        self._keys = Keys(config.namespace)
        name = f"hrm-api-{process_id}"
        self._pipeline = Pipeline(config.url, tag=self._keys.tag, name=name)
        self._replies = Replies(config.url, stream=self._keys.reply(process_id), name=name, look=self._endings)
        self._abandoned = Abandoned(self._pipeline)

    @property
    def reply_to(self) -> str:
        """See FrontBroker."""
        return self._process_id

    async def start(self) -> None:
        """See FrontBroker."""
        self._replies.start()
        await self._pipeline.command("PING")

    async def close(self) -> None:
        """See FrontBroker."""
        await self._replies.close()
        await self._abandoned.close()
        await self._pipeline.close()

    async def admit(self, job: NewJob) -> Admission:
        """See FrontBroker."""
        return (await self.submit(job)).admission

    async def submit(self, job: NewJob) -> Receipt:
        """See FrontBroker."""
        self._abandoned.discard(job.id)
        waited_for = job.reply_to == self.reply_to
        if waited_for:
            # Before it is in: it may end before its admission is read here.
            self._replies.expect(job.id)
        admission = None
        try:
            reply = await self._pipeline.run(ADMIT, *admit_arguments(job, self._config.queue_limit))
            receipt = read_receipt(reply)
            admission = receipt.admission
        except (BrokerError, asyncio.CancelledError):
            # Its caller never learns of it, unless they ask again under their key.
            if not job.idempotency_key:
                self.abandon(job.id, job.timeout_s)
            raise
        finally:
            if waited_for and admission is not Admission.ACCEPTED:
                self._replies.forget(job.id)
        return receipt

    async def wait(self, job_id: str, timeout_s: float) -> Ending | None:
        """See FrontBroker."""
        return await self._replies.wait(job_id, timeout_s)

    async def record(self, job_id: str) -> JobRecord | None:
        """See FrontBroker."""
        return (await self._records([job_id]))[0]

    async def cancel(self, job_id: str) -> bool:
        """See FrontBroker."""
        cancelled = bool(await self._pipeline.run(CANCEL, job_id))
        self._replies.forget(job_id)
        return cancelled

    def abandon(self, job_id: str, within_s: float) -> None:
        """See FrontBroker."""
        self._abandoned.add(job_id, within_s)
        self._replies.forget(job_id)

    async def depths(self, tasks: Sequence[str]) -> list[Depth]:
        """See FrontBroker."""
        return [
            Depth(task.decode(), Lane(lane.decode()), waiting, oldest_ms / 1000)
            for task, lane, waiting, oldest_ms in await self._pipeline.run(DEPTHS, *tasks)
        ]

    async def workers(self) -> list[WorkerRecord]:
        """See FrontBroker."""
        return worker_records(await self._pipeline.run(WORKERS))

    async def tell_workers(self, message: ControlMessage) -> None:
        """See FrontBroker."""
        body = json.dumps({**message.body, "format_version": FORMAT_VERSION, "kind": message.kind})
        await self._pipeline.command("PUBLISH", self._keys.control, body)

    async def _records(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        found = await self._pipeline.run(LOOK, problems.DEADLINE, *job_ids)
        return [_record(job_id, fields) for job_id, fields in zip(job_ids, found, strict=True)]

    async def _endings(self, job_ids: Sequence[str]) -> Mapping[str, Ending | None]:
        endings: dict[str, Ending | None] = {}
        for job_id, record in zip(job_ids, await self._records(job_ids), strict=True):
            if record is None:
                endings[job_id] = None
            elif record.state.final:
                endings[job_id] = Ending(job_id, record.state, record.payload)
        return endings


def admit_arguments(job: NewJob, queue_limit: int) -> Command:
    """The job, as ADMIT takes it."""
    return (
        job.id,
        job.task,
        job.lane,
        job.request,
        int(job.timeout_s * 1000),
        int(job.keep_s * 1000),
        job.reply_to,
        job.caller,
        job.trace_context,
        job.idempotency_key,
        job.place,
        job.body_hash,
        job.quota,
        queue_limit,
        problems.DEADLINE,
    )


def read_receipt(reply: tuple[bytes, bytes, int]) -> Receipt:
    """What ADMIT returns."""
    verdict, job_id, retry_after_ms = reply
    return Receipt(Admission(verdict.decode()), job_id.decode(), retry_after_ms / 1000)


def _record(job_id: str, fields: Sequence[bytes]) -> JobRecord | None:
    try:
        task, state, caller, payload, created_ms = fields
        return JobRecord(
            id=job_id,
            task=task.decode(),
            state=JobState(state.decode()),
            caller=caller.decode(),
            payload=payload or b"",
            created_s=int(created_ms) / 1000,
        )
    except ValueError:
        # Gone, or altered by hand beyond recognition.
        return None


def worker_records(rows: Iterable[Sequence[Any]]) -> list[WorkerRecord]:
    """What WORKERS returns."""
    return [
        WorkerRecord(worker.decode(), _description(description), expires_in_ms / 1000)
        for worker, description, expires_in_ms in rows
    ]


def _description(text: bytes) -> Mapping[str, object]:
    try:
        description = json.loads(text)
    except ValueError:
        return {}
    return description if isinstance(description, dict) else {}
