"""The records that travel through Redis, and the interface of the broker's two sides.

Nothing here talks to Redis; nothing outside `service.broker` knows keys or scripts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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

    @property
    def final(self) -> bool:
        """Whether the job has ended; only a person's requeue of a dead letter leads out of an end."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


_ENDS = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.DEAD})

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    # Queued to done or failed: the holder lost its lease, and answered before anybody else took the job.
    JobState.QUEUED: _ENDS | {JobState.RUNNING},
    JobState.RUNNING: _ENDS | {JobState.QUEUED},
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.DEAD: frozenset({JobState.QUEUED}),
}
"""What may follow what; the scripts keep to it, and a test watches them."""


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
    idempotency_key: str = ""
    """The caller's Idempotency-Key; empty: none."""
    place: str = ""
    """Tells the jobs of one request apart; empty: it is the only one."""
    body_hash: str = ""
    """What a reused key is compared by."""
    quota: int = 0
    """How many unfinished jobs the caller may have; 0: any number."""


class Admission(StrEnum):
    """The queue's word on a new job."""

    ACCEPTED = "accepted"
    KNOWN = "known"
    """In already: this very job (a repeated call), or an older one under the same idempotency key."""
    FULL = "full"
    CONFLICT = "conflict"
    """The idempotency key belongs to another body."""
    OVER_QUOTA = "over_quota"
    EXPIRED = "expired"
    """Its deadline had passed before it came in."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """An admission with its particulars."""

    admission: Admission
    job_id: str
    """The job to wait for; where KNOWN by its idempotency key (or CONFLICT), that of the first request."""
    retry_after_s: float = 0.0
    """Where FULL: how long the lane takes to drain at the task's recent rate, between 1 s and a minute."""


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

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other delivery, also of the same job."""
        return self.id, self.fence


@dataclass(frozen=True, slots=True)
class Finished:
    """What a worker says of a claim: DONE with the JSON of an Answer, FAILED with that of a Problem, or CANCELLED."""

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


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that was given up, as `hrm dead list` shows it."""

    entry: str
    """What `requeue` asks for."""
    id: str
    task: str
    reason: str
    owner: str
    """The last worker that held it."""
    died_s: float
    """Unix time of its burial."""


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """A word to all workers: kind `cancel` (body: id) or `reload` (body: task).

    It may get lost; what it speaks of is in the records and the registry, too.
    """

    kind: str
    body: Mapping[str, str]


class BrokerError(Exception):
    """Redis is away or answered nonsense; the call may be repeated."""


class FrontBroker(Protocol):
    """The API's side: one per API process, asyncio. Every method may raise BrokerError."""

    @property
    def reply_to(self) -> str:
        """What a NewJob that somebody here waits for says in `reply_to`; empty there: nobody waits."""
        ...

    async def start(self) -> None:
        """Start the one loop that reads this process' reply stream, and knock at Redis.

        A BrokerError says that Redis did not answer; the broker runs all the same, and recovers when it does.
        """
        ...

    async def close(self) -> None:
        """Stop the loop and close the pool."""
        ...

    async def admit(self, job: NewJob) -> Admission:
        """Enqueue, unless the lane is full; repeating the call cannot double the job."""
        ...

    async def submit(self, job: NewJob) -> Receipt:
        """What `admit` does, told in full: whose job it is, and when to come again.

        Where this raises or is cancelled, the job is abandoned, unless it has an idempotency key; it may be handed in
        again.
        """
        ...

    async def wait(self, job_id: str, timeout_s: float) -> Ending | None:
        """The job's ending, or None when `timeout_s` passed; raises JobLostError where its record is gone."""
        ...

    async def record(self, job_id: str) -> JobRecord | None:
        """The job as it stands."""
        ...

    async def cancel(self, job_id: str) -> bool:
        """Mark it cancelled; False where it had ended otherwise. After True it will not show another ending."""
        ...

    def abandon(self, job_id: str, within_s: float) -> None:
        """Nobody waits for the job: cancel it, now or when Redis answers again within `within_s`. Never raises."""
        ...

    async def depths(self, tasks: Sequence[str]) -> list[Depth]:
        """What waits, lane by lane."""
        ...

    async def workers(self) -> list[WorkerRecord]:
        """Who is alive."""
        ...

    async def tell_workers(self, message: ControlMessage) -> None:
        """Publish a control message."""
        ...


class JobLostError(Exception):
    """The job's record is gone (it expired, or Redis lost its data)."""


class WorkerBroker(Protocol):
    """The worker's side: blocking, called from the worker's I/O threads. Every method may raise BrokerError."""

    tally: Counter[tuple[str, str]]
    """So far, by task and event: what the queue ended by itself when this worker came by (`deadline`, `cancelled`,
    `unreadable`, `poison`), and what was taken from others (`handed_over`)."""

    def take(self, room: Mapping[str, int], ahead: Mapping[str, int] | None = None, wait_s: float = 0.0) -> list[Claim]:
        """At most `room[task]` jobs of each task, high lane first.

        Of these the last `ahead[task]` are only fetched ahead: should this worker crash, it is not held against them
        before a renewal named them as seated. All others count as seated at once.

        With `wait_s` it first waits until something is enqueued that was not there at the last `take`, at most that
        long, and never longer than 5 s.
        """
        ...

    def renew(self, claims: Sequence[Claim], ahead: Collection[str] = ()) -> Renewal:
        """Extend the leases of claims whose slots advanced, and of those that wait for a slot.

        `ahead` holds the ids of the latter, fetched ahead or between two attempts; all others count as seated.
        """
        ...

    def finish(self, endings: Sequence[Finished]) -> list[bool]:
        """Publish; False where somebody else was first (a duplicate, dropped)."""
        ...

    def hand_back(self, claims: Sequence[Claim]) -> None:
        """Give claims to the queue again, first in line, without counting a delivery against them."""
        ...

    def reclaim(self, room: Mapping[str, int]) -> list[Claim]:
        """Give jobs whose holder let its lease run out to the queue again, first in line, then `take`.

        To be called now and then, also with no room at all: others may have some.
        """
        ...

    def control(self, timeout_s: float) -> list[ControlMessage]:
        """What was published since the last call; blocks for `timeout_s` while there is nothing. One thread only."""
        ...

    def announce(self, description: Mapping[str, object]) -> None:
        """Say that this worker lives and what it serves; its record expires with the lease."""
        ...

    def retire(self) -> None:
        """Remove this worker's record."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
