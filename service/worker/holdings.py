"""The claims of one worker: which wait for the engine, which it has, and what has to be said to the queue.

Shared by the engine's thread and those of the source; free of Redis. A job may come a second time while its first
claim is still here (its lease ran out, and the queue gave it to us again): the first one is then revoked, and the
engine tells the two apart by the claim's fence.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from service.broker.records import Claim, Finished
from service.engine.work import Key, Outcome, Room, Work


@dataclass(eq=False, slots=True)
class Held:
    """A claim, and how far it has come; the ticket of its work."""

    claim: Claim
    inside: bool = False
    """The engine has it."""
    seated: bool = False
    """It has a slot."""
    advanced: bool = False
    """It ran a segment since the last renewal."""
    launches: list[float] = field(default_factory=list)
    """When its segments began, by the monotonic clock; noted where its request is traced."""
    ended: float = 0.0
    """When the engine was done with it."""


@dataclass(slots=True)
class Outbox:
    """What has to be said to the queue."""

    ended: list[Outcome] = field(default_factory=list)
    refused: list[Finished] = field(default_factory=list)
    returned: list[Claim] = field(default_factory=list)
    hurry: bool = False
    """The worker has something new to say of itself."""
    last: bool = False
    """Nothing will follow."""


class Holdings:
    """Every claim of the worker is in exactly one place: ready, inside the engine, or in the outbox."""

    def __init__(self) -> None:
        # One lock, and one condition for each who waits: nobody is woken for what concerns others.
        self._lock = threading.Lock()
        self._room_opened, self._work_came, self._to_be_said = (threading.Condition(self._lock) for _ in range(3))
        self._held: dict[str, Held] = {}
        self._ready: dict[str, dict[str, Work]] = defaultdict(dict)
        self._room: dict[str, Room] = {}
        self._revoked: set[Key] = set()
        self._outbox = Outbox()
        self._stopped = False
        self._turned = False

    # The fetching threads' side

    def gap(self, task: str, timeout_s: float) -> Room | None:
        """What to fetch for a task, as soon as it has room, or none after `timeout_s`; None: nothing any more."""
        with self._lock:
            self._room_opened.wait_for(lambda: self._missing(task).wanted or self._stopped, timeout_s)
            return None if self._stopped else self._missing(task)

    def accept(self, claimed: Sequence[tuple[Claim, Work]]) -> None:
        """Hold claims; their work waits for the engine."""
        with self._lock:
            for claim, work in claimed:
                if claim.id in self._held:
                    self._forget(self._held[claim.id])
                self._held[claim.id] = work.ticket = Held(claim)
                self._ready[claim.task][claim.id] = work
            if self._stopped:
                self._return([work for _, work in claimed])
            self._work_came.notify_all()

    def pass_on(self, claim: Claim) -> None:
        """Have a claim given to others."""
        with self._lock:
            self._outbox.returned.append(claim)
            self._to_be_said.notify_all()

    def say(self, ending: Finished) -> None:
        """Have an ending published that the engine knows nothing of."""
        with self._lock:
            self._outbox.refused.append(ending)
            self._to_be_said.notify_all()

    # The engine's side

    def poll(self, room: Mapping[str, Room]) -> list[Work]:
        """What is ready; and note how much more is wanted."""
        works: list[Work] = []
        with self._lock:
            self._turned = True
            self._return([work for task, queue in self._ready.items() if task not in room for work in queue.values()])
            self._room = {}
            for task, wanted in room.items():
                queue = self._ready[task]
                taken = [queue.pop(job_id) for job_id in list(queue)[: wanted.wanted]]
                left = wanted.wanted - len(taken)
                self._room[task] = Room(left, min(left, wanted.ahead))
                works += taken
            for work in works:
                work.ticket.inside = True
            self._room_opened.notify_all()
        return works

    def revoked(self) -> Collection[Key]:
        """What the engine should let go of."""
        with self._lock:
            revoked, self._revoked = self._revoked, set()
        return revoked

    def advance(self, running: Sequence[Work], waiting: Sequence[Work]) -> None:
        """Some run a segment; others wait for a slot again, and are not to blame where the worker crashes."""
        self._turned = True
        now = time.monotonic()
        for work in waiting:
            work.ticket.seated = False
        for work in running:
            held: Held = work.ticket
            held.seated = held.advanced = True
            if held.claim.trace_context and held.launches[-1:] != [now]:  # of several attempts, once
                held.launches.append(now)

    def leave(self, outcomes: Sequence[Outcome]) -> None:
        """The engine is done with these; what was lost or cancelled meanwhile has nothing to say."""
        now = time.monotonic()
        with self._lock:
            for outcome in outcomes:
                outcome.work.ticket.ended = now
                if self._is_current(outcome.work.ticket):
                    del self._held[outcome.work.id]
                    self._outbox.ended.append(outcome)
                else:
                    self._revoked.discard(outcome.work.key)
            self._to_be_said.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Until there is something for the engine."""
        with self._lock:
            self._work_came.wait_for(lambda: any(self._ready.values()) or self._revoked or self._stopped, timeout_s)

    def inside(self) -> set[Key]:
        """What the engine should have, and nothing else."""
        with self._lock:
            return {held.claim.key for held in self._held.values() if held.inside} | self._revoked

    # The publishing thread's side

    def outbox(self, timeout_s: float) -> Outbox:
        """What has to be said, as soon as there is something, or after `timeout_s`."""
        with self._lock:
            self._to_be_said.wait_for(lambda: self._outbox != Outbox(), timeout_s)
            outbox, self._outbox = self._outbox, Outbox(last=self._outbox.last)
        return outbox

    def due(self) -> tuple[list[Claim], set[str]]:
        """The claims whose leases deserve renewal, and the ids of those that have no slot.

        Those that ran a segment do. What waits for a slot does while the engine goes round.
        """
        with self._lock:
            turned, self._turned = self._turned, False
            due = [held for held in self._held.values() if held.advanced or (turned and not held.seated)]
            for held in due:
                held.advanced = False
            return [held.claim for held in due], {held.claim.id for held in due if not held.seated}

    def drop(self, claims: Sequence[Claim]) -> list[Claim]:
        """Let go of claims that are not ours or not wanted any more; returns those that were still here."""
        with self._lock:
            dropped = [held for claim in claims if (held := self._held.get(claim.id)) and held.claim is claim]
            for held in dropped:
                self._forget(held)
            self._work_came.notify_all()
            self._room_opened.notify_all()
        return [held.claim for held in dropped]

    def find(self, job_id: str) -> list[Claim]:
        """The claim to a job, if it is here."""
        with self._lock:
            return [self._held[job_id].claim] if job_id in self._held else []

    # The end

    def hurry(self) -> None:
        """Wake the publishing thread."""
        with self._lock:
            self._outbox.hurry = True
            self._to_be_said.notify_all()

    def stop(self) -> None:
        """Nothing more is wanted; what is ready goes back."""
        with self._lock:
            self._stopped = True
            self._return([work for queue in self._ready.values() for work in queue.values()])
            self._room_opened.notify_all()
            self._work_came.notify_all()

    def give_back(self, works: Sequence[Work]) -> None:
        """The engine gives these up."""
        with self._lock:
            self._return(works)

    def close(self) -> None:
        """The next outbox is the last one."""
        with self._lock:
            self._outbox.last = True
            self._to_be_said.notify_all()

    # With the lock held

    def _missing(self, task: str) -> Room:
        room = self._room.get(task, Room(0, 0))
        left = max(0, room.wanted - len(self._ready[task]))
        return Room(left, min(left, room.ahead))

    def _is_current(self, held: Held) -> bool:
        return self._held.get(held.claim.id) is held

    def _forget(self, held: Held) -> None:
        claim = held.claim
        del self._held[claim.id]
        if held.inside:
            self._revoked.add(claim.key)
        else:
            del self._ready[claim.task][claim.id]

    def _return(self, works: Sequence[Work]) -> None:
        for work in works:
            if self._is_current(work.ticket):
                del self._held[work.id]
                self._ready[work.task].pop(work.id, None)
                self._outbox.returned.append(work.ticket.claim)
            else:
                self._revoked.discard(work.key)
        if works:
            self._to_be_said.notify_all()
