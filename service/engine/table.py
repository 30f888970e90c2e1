"""A loaded checkpoint at work: its slots, its runner, and the part of a tick that concerns them."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil, isfinite, nan

import numpy as np

from model.checkpoint import CheckpointInfo
from service.engine.runner import Admission, Readback, Runner
from service.engine.slots import Seat, SlotTable
from service.engine.work import Key, Outcome, Room, Thought, Work
from service.schemas import HaltedBy

_GAP_MEMORY = 64
"""Segments that are looked back on to say how long a slot stayed empty."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The statistics of one segment of one table, for metrics and the scheduler.

    `gaps` has an entry for every slot that was filled before it: through how many segments it had stayed
    empty although the puzzle that it then got was waiting.
    """

    task: str
    live: int
    idle: int
    shape: int
    """Rows that the device ran."""
    device_s: float
    gaps: Sequence[int]


class Table:
    """A loaded checkpoint at work: staged work is seated in free slots, runs, and leaves when it halts.

    `staged` holds work that was taken from the source ahead of time and waits for a slot.
    """

    def __init__(self, info: CheckpointInfo, runner: Runner) -> None:
        self.info, self.runner = info, runner
        self.slots = SlotTable(runner.size)
        self.staged: deque[Work] = deque()
        self._halts_per_segment = 0.0
        self._running: list[Seat] = []
        self._gaps: list[int] = []
        self._freed_at = [float("-inf")] * runner.size
        self._launches: deque[float] = deque(maxlen=_GAP_MEMORY)

    @property
    def task(self) -> str:
        """The task whose puzzles it solves."""
        return self.info.task

    @property
    def busy(self) -> bool:
        """Whether there is anything to run."""
        return bool(self.slots.held or self.staged)

    def room(self) -> Room:
        """How much work to fetch: for the free slots, and for those expected to halt in the next segment."""
        ahead = min(ceil(self._halts_per_segment), self.slots.held)
        wanted = max(0, self.slots.free + ahead - len(self.staged))
        return Room(wanted, min(wanted, ahead))

    def refill(self, now: float) -> list[Outcome]:
        """Seat staged work in the free slots; what is past its deadline ends without a seat."""
        late: list[Outcome] = []
        fresh: list[Seat] = []
        while self.staged and self.slots.free:
            work = self.staged.popleft()
            if work.deadline <= now:
                late.append(self._unseated(work, now))
            else:
                seat = self.slots.seat(work, now)
                waiting_since = max(work.arrived, self._freed_at[seat.slot])
                self._gaps.append(len(self._launches) - bisect_right(self._launches, waiting_since))
                fresh.append(seat)
        if fresh:
            works = [seat.work for seat in fresh]
            self.runner.admit(
                Admission(
                    slots=np.array([seat.slot for seat in fresh]),
                    tokens=np.stack([work.tokens for work in works]),
                    predicted=np.stack([work.predicted for work in works]),
                    puzzle_ids=np.array([work.puzzle_id for work in works]),
                    min_segments=np.array([work.min_segments for work in works]),
                    max_segments=np.array([work.max_segments for work in works]),
                )
            )
        return late

    def launch(self, now: float) -> list[Work]:
        """Start a segment of all seated work and say whose; nobody's: nothing was started."""
        self._running = self.slots.seated()
        if self._running:
            self._launches.append(now)
            self.runner.launch(np.array([seat.slot for seat in self._running]))
        return [seat.work for seat in self._running]

    def collect(self) -> Readback:
        """Wait for the segment that `launch` started."""
        return self.runner.collect()

    def settle(self, readback: Readback, now: float) -> tuple[list[Outcome], Segment]:
        """Free what halted or ran out of time in the segment just collected, and say how it ended."""
        outcomes: list[Outcome] = []
        live = len(self._running)
        for row, seat in enumerate(self._running):
            if not self.slots.holds(seat):
                continue  # revoked while the device ran: the row belongs to nobody any more
            seat.segments += 1
            if seat.work.request.trace:
                seat.thoughts.append(_thought(readback, row))
            outcome = self._judge(seat, readback, row, now)
            if outcome is not None:
                self._release(seat, now)
                outcomes.append(outcome)
        self._running = []
        self._halts_per_segment += 0.2 * (len(outcomes) - self._halts_per_segment)
        gaps, self._gaps = self._gaps, []
        return outcomes, Segment(self.task, live, self.slots.size - live, readback.shape, readback.device_s, gaps)

    def works(self) -> list[Work]:
        """Everything it holds, seated or staged."""
        return [seat.work for seat in self.slots.seated()] + list(self.staged)

    def revoke(self, keys: Collection[Key], now: float) -> None:
        """Free the slots of work that nobody wants any more."""
        self.staged = deque(work for work in self.staged if work.key not in keys)
        for seat in [seat for key in keys if (seat := self.slots.find(key))]:
            self._release(seat, now)

    def unstage(self) -> list[Work]:
        """Give up what waits for a slot."""
        works = list(self.staged)
        self.staged.clear()
        return works

    def unseat(self, now: float) -> list[Work]:
        """Give up what sits in a slot, without an outcome."""
        seats = self.slots.seated()
        for seat in seats:
            self._release(seat, now)
        return [seat.work for seat in seats]

    def _release(self, seat: Seat, now: float) -> None:
        self.slots.release(seat)
        self._freed_at[seat.slot] = now

    def _judge(self, seat: Seat, readback: Readback, row: int, now: float) -> Outcome | None:
        work = seat.work
        q_halt, q_continue = float(readback.q_halt[row]), float(readback.q_continue[row])
        confidence = float(readback.confidence[row])
        error = None
        if not (isfinite(q_halt) and isfinite(q_continue) and isfinite(confidence)):
            error, halted_by = "the network's output is not a number", HaltedBy.MAX_SEGMENTS
        elif readback.halted[row]:
            by_head = readback.willing[row] and work.min_segments < work.max_segments
            halted_by = HaltedBy.ACT if by_head else HaltedBy.MAX_SEGMENTS
        elif now >= work.deadline:
            halted_by = HaltedBy.DEADLINE
        else:
            return None
        return Outcome(
            work=work,
            checkpoint=self.info.name,
            tokens=None if error else readback.tokens[row],
            halted_by=halted_by,
            segments=seat.segments,
            q_halt=q_halt,
            q_continue=q_continue,
            confidence=confidence,
            queue_s=seat.since - work.arrived,
            solve_s=now - seat.since,
            thoughts=seat.thoughts,
            error=error,
        )

    def _unseated(self, work: Work, now: float) -> Outcome:
        return Outcome(
            work, self.info.name, None, HaltedBy.DEADLINE, 0, nan, nan, nan, queue_s=now - work.arrived, solve_s=0.0
        )


def refused(work: Work, checkpoint: str, error: str) -> Outcome:
    """The outcome of work that a checkpoint cannot take."""
    return Outcome(work, checkpoint, None, HaltedBy.MAX_SEGMENTS, 0, nan, nan, nan, 0.0, 0.0, error=error)


def _thought(readback: Readback, row: int) -> Thought:
    return Thought(
        tokens=readback.tokens[row],
        q_halt=float(readback.q_halt[row]),
        q_continue=float(readback.q_continue[row]),
        residual_H=float(readback.residual_H[row]),
        residual_L=float(readback.residual_L[row]),
    )
