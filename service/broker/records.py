"""The records that travel through Redis, and the interface of the broker's two sides.

Nothing here talks to Redis; nothing outside `service.broker` knows keys or scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from service.schemas import Lane

FORMAT_VERSION = 1


class JobState(StrEnum):
    """The life of a job; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class NewJob:
    """What the API hands in. `request` is the JSON of a validated SolveRequest whose task is set."""

    id: str
    task: str
    lane: Lane
    request: bytes
    timeout_s: float
    reply_to: str
    keep_s: float
    """How long the record outlives its end."""
    caller: str = ""
    trace_context: str = ""


class Admission(StrEnum):
    """The queue's word on a new job."""

    ACCEPTED = "accepted"
    KNOWN = "known"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in a worker's hands. `fence` rises with every delivery: only its latest holder may finish it."""

    id: str
    task: str
    lane: Lane
    request: bytes
    fence: int
    deliveries: int
    deadline_in_s: float
    """Seconds left, by Redis' clock, when it was taken."""
    waited_s: float
    """Seconds it spent in the queue since it was admitted."""
    trace_context: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a worker says of a claim: DONE with the JSON of an Answer, or FAILED with that of a Problem."""

    id: str
    fence: int
    state: JobState
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended, as its waiter sees it."""

    id: str
    state: JobState
    payload: bytes


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as `GET /jobs/{id}` shows it; payload is empty until it ended."""

    id: str
    task: str
    state: JobState
    caller: str
    payload: bytes
    created_s: float
    """Unix time of its admission."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A living worker, as it last described itself."""

    id: str
    description: Mapping[str, object]
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits in one lane of one task."""

    task: str
    lane: Lane
    waiting: int
    oldest_age_s: float


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal says of the claims it named."""

    lost: Sequence[str]
    """No longer this worker's: free their slots and say nothing."""
    cancelled: Sequence[str]
    """Nobody waits for them any more."""


class BrokerError(Exception):
    """Redis is away or answered nonsense; the call may be repeated."""


class FrontBroker(Protocol):
    """The API's side: one per API process, asyncio. Every method may raise BrokerError."""

    async def start(self) -> None:
        """Open the pool, load the scripts, start the one loop that reads this process' reply stream."""
        ...

    async def close(self) -> None:
        """Stop the loop and close the pool."""
        ...

    async def admit(self, job: NewJob) -> Admission:
        """Enqueue, unless the lanes are full; repeating the call cannot double the job."""
        ...

    async def wait(self, job_id: str, timeout_s: float) -> Ending | None:
        """The job's ending, or None when `timeout_s` passed; raises JobLostError where its record is gone."""
        ...

    async def record(self, job_id: str) -> JobRecord | None:
        """The job as it stands."""
        ...

    async def cancel(self, job_id: str) -> bool:
        """Mark it cancelled; False where it had ended already."""
        ...

    async def depths(self, tasks: Sequence[str]) -> list[Depth]:
        """What waits, lane by lane."""
        ...

    async def workers(self) -> list[WorkerRecord]:
        """Who is alive."""
        ...


class JobLostError(Exception):
    """The job's record is gone (it expired, or Redis lost its data)."""


class WorkerBroker(Protocol):
    """The worker's side: blocking, called from the worker's I/O thread. Every method may raise BrokerError."""

    def take(self, room: Mapping[str, int]) -> list[Claim]:
        """At most `room[task]` jobs of each task, high lane first; never blocks."""
        ...

    def wait_for_work(self, tasks: Sequence[str], timeout_s: float) -> None:
        """Return when something was enqueued since the last `take`, or when `timeout_s` passed."""
        ...

    def renew(self, claims: Sequence[Claim]) -> Renewal:
        """Extend the leases of claims whose slots advanced."""
        ...

    def finish(self, endings: Sequence[Finished]) -> list[bool]:
        """Publish; False where somebody else was first (a duplicate, dropped)."""
        ...

    def hand_back(self, claims: Sequence[Claim]) -> None:
        """Give claims to the queue again, first in line, without counting a delivery against them."""
        ...

    def reclaim(self, room: Mapping[str, int]) -> list[Claim]:
        """Take over jobs whose holder let its lease run out."""
        ...

    def announce(self, description: Mapping[str, object]) -> None:
        """Say that this worker lives and what it serves; its record expires with the lease."""
        ...

    def retire(self) -> None:
        """Remove this worker's record."""
        ...
