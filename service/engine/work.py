"""What goes into the engine and what comes out: plain records, free of torch and Redis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import CheckpointInfo
from model.tasks import Symmetry, Task, Tokens
from model.tasks.vote import Candidate
from service.schemas import HaltedBy, Problem, SolveRequest

Key = tuple[str, int]
"""What the engine tells requests apart by: id and delivery."""
Place = tuple[str, int, int]
"""What it tells pieces of work apart by: id, delivery and attempt."""


@dataclass(frozen=True, slots=True)
class Thought:
    """The state of mind of one slot after one segment."""

    tokens: Tokens
    q_halt: float
    q_continue: float
    residual_H: float
    residual_L: float


@dataclass(eq=False, slots=True)
class Work:
    """A puzzle that wants a slot: a request, or one further attempt at it.

    Attributes:
        id: what the answer is called by.
        request: what was asked, with its task set.
        info: the checkpoint it was read for; its codec also writes the answer.
        tokens: the puzzle, [L].
        predicted: which cells count for the confidence, [L] booleans.
        attempts: how many attempts its request may spend, of together `max_total_segments` segments.
        puzzle_id: row of the puzzle embedding.
        arrived: when it came in (also before it reached this process), by the engine's clock.
        deadline: by the engine's clock, in seconds.
        delivery: tells this piece from an earlier one with the same id, which may still sit in a slot.
        ticket: whatever the source needs to answer; the engine does not look at it.
        attempt: which attempt at its request it is, from 0.
        symmetry: what `tokens` are the request's puzzle under.
    """

    id: str
    request: SolveRequest
    info: CheckpointInfo
    tokens: Tokens
    predicted: NDArray[np.bool_]
    min_segments: int
    max_segments: int
    attempts: int = 1
    max_total_segments: int = 0
    puzzle_id: int = 0
    arrived: float = 0.0
    deadline: float = float("inf")
    delivery: int = 0
    ticket: Any = None
    attempt: int = 0
    symmetry: Symmetry | None = None

    @property
    def key(self) -> Key:
        """What the engine knows its request by."""
        return self.id, self.delivery

    @property
    def place(self) -> Place:
        """What the engine knows it by."""
        return self.id, self.delivery, self.attempt

    @property
    def task(self) -> str:
        """The task it belongs to."""
        return self.info.task

    @property
    def codec(self) -> Task:
        """How the puzzle was read and the answer will be written."""
        return self.info.codec


@dataclass(frozen=True, slots=True)
class Spent:
    """What a request with several attempts cost, and which of them its answer is from.

    Attributes:
        attempts: how many were begun.
        segments: of all attempts together.
        lost: segments of those that were ended for another's sake; contained in `segments`.
        winner: the number of the attempt that the answer is from, from 0.
        symmetry: what that attempt saw the puzzle under.
        votes: the most frequent answers, where they were counted.
    """

    attempts: int
    segments: int
    lost: int
    winner: int
    symmetry: str
    votes: Sequence[Candidate] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a piece of work ended. `tokens` is None where it never ran a segment or went wrong (`error` says how)."""

    work: Work
    checkpoint: str
    tokens: Tokens | None
    halted_by: HaltedBy
    segments: int
    q_halt: float
    q_continue: float
    confidence: float
    queue_s: float
    solve_s: float
    thoughts: Sequence[Thought] = ()
    error: Problem | None = None
    spent: Spent | None = None
    """Set where the request had several attempts to spend."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much work a table can use: `wanted` in all, of which the last `ahead` will wait for a slot to halt."""

    wanted: int
    ahead: int


class Source(Protocol):
    """Where the engine's work comes from and where its outcomes go. No method may block, but `wait`."""

    def poll(self, room: Mapping[str, Room]) -> list[Work]:
        """What is ready, at most `room[task].wanted` pieces a task, in the order they should be seated."""
        ...

    def revoked(self) -> Collection[Key]:
        """What nobody wants an answer to any more (cancelled, or lost to another worker) since the last call."""
        ...

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        """Take over what ended."""
        ...

    def advanced(self, running: Sequence[Work], waiting: Sequence[Work]) -> None:
        """Some have a slot and run a segment just now: their leases deserve renewal. Others wait for a slot again."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Return when there may be work, or when `timeout_s` passed."""
        ...

    def leased(self) -> Collection[Key] | None:
        """What the engine should hold, by the source's own books; None where it keeps none."""
        ...
