"""A loaded checkpoint at work: its slots, its runner, and the part of a tick that concerns them."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil, isfinite, nan

import numpy as np

from model.checkpoint import CheckpointInfo
from service.engine.attempts import Attempts
from service.engine.runner import Admission, Readback, Runner
from service.engine.slots import Seat, SlotTable
from service.engine.work import Key, Outcome, Room, Thought, Work
from service.problems import ProblemKind
from service.schemas import HaltedBy, Mode, Problem

WAITING_PER_SLOT = 10
"""How many requests a table holds between two attempts, for each slot, before it takes no more. What stays in the queue
is counted there, refused when it is too much, and there for other workers."""
_GAP_MEMORY = 64
"""Segments that are looked back on to say how long a slot stayed empty."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The statistics of one segment of one table, for metrics and the scheduler.

    `gaps` has an entry for every slot that was filled before it: through how many segments it had stayed
    empty although the puzzle that it then got was waiting. `given_way` counts the segments of extra attempts whose
    slots went to requests that waited.
    """

    task: str
    live: int
    idle: int
    shape: int
    """Rows that the device ran."""
    device_s: float
    gaps: Sequence[int]
    given_way: int


class Table:
    """A loaded checkpoint at work: staged work is seated in free slots, runs, and leaves when it halts.

    `staged` holds work that was taken from the source ahead of time and waits for a slot. A request with several
    attempts to spend holds at most `slot_share` of the slots. An idle table runs its first puzzle `batch_wait_s` after
    that came in, or once its slots are full.
    """

    def __init__(
        self, info: CheckpointInfo, runner: Runner, slot_share: float = 0.5, batch_wait_s: float = 0.0
    ) -> None:
        self.info, self.runner = info, runner
        self._batch_wait_s = batch_wait_s
        self.slots = SlotTable(runner.size)
        self.staged: deque[Work] = deque()
        self._attempts = Attempts(max(1, int(runner.size * slot_share)))
        self._given_way = 0
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
        return bool(self.slots.held or self.staged or self._attempts.waiting)

    def patience(self, now: float) -> float:
        """Seconds for which it still waits for company for its first puzzle; 0: it does not."""
        if self.slots.held or self._attempts.waiting or not 0 < len(self.staged) < self.slots.size:
            return 0.0
        return max(0.0, self.staged[0].arrived + self._batch_wait_s - now)

    def room(self) -> Room:
        """How much work to fetch: for the slots it can have, and for those expected to halt in the next segment."""
        ahead = min(ceil(self._halts_per_segment), self.slots.held)
        wanted = self.slots.free + self._attempts.extra() + ahead - len(self.staged)
        wanted = max(0, min(wanted, WAITING_PER_SLOT * self.slots.size - self._attempts.waiting))
        return Room(wanted, min(wanted, ahead))

    def refill(self, now: float) -> list[Outcome]:
        """Seat work in the free slots; what is past its deadline ends without a seat."""
        late: list[Outcome] = []
        fresh: list[Seat] = []
        self._make_way(now)
        while self.slots.free:
            work = self._next(now)
            if work is None:
                break
            if isinstance(work, Outcome):
                late.append(work)
                continue
            seat = self.slots.seat(work, now)
            waiting_since = max(work.arrived, self._freed_at[seat.slot])
            if not work.attempt:
                self._gaps.append(len(self._launches) - bisect_right(self._launches, waiting_since))
            fresh.append(seat)
        if fresh:
            self._admit(fresh)
        return late

    def launch(self, now: float) -> list[Work]:
        """Start a segment of all seated work and say whose it is; nobody's: nothing was started."""
        self._running = self.slots.seated()
        if not self._running:
            return []
        self._launches.append(now)
        self.runner.launch(np.array([seat.slot for seat in self._running]))
        return [seat.work for seat in self._running]

    def between_attempts(self) -> list[Work]:
        """The requests whose last attempt left its slot, and whose next one waits for another."""
        return self._attempts.waiting_works()

    def collect(self) -> Readback:
        """Wait for the segment that `launch` started."""
        return self.runner.collect()

    def settle(self, readback: Readback, now: float) -> tuple[list[Outcome], Segment]:
        """Free what halted or ran out of time in the segment just collected, and say how it ended."""
        outcomes: list[Outcome] = []
        live, freed = len(self._running), 0
        # A seat that was revoked while the device ran is passed over: its row belongs to nobody any more.
        held = [(row, seat) for row, seat in enumerate(self._running) if self.slots.holds(seat)]
        for row, seat in held:
            seat.segments += 1
            if seat.work.request.trace:
                seat.thoughts.append(_thought(readback, row))
        verified = self._verified(held, readback)
        # Looked at all at once: most rows go on, and the device waits for this.
        sums = readback.q_halt + readback.q_continue + readback.confidence
        over = (readback.halted | ~np.isfinite(sums)).tolist()
        for row, seat in held:
            if not (over[row] or row in verified or now >= seat.work.deadline):
                continue
            if not self.slots.holds(seat):
                continue  # a sibling has settled the request
            outcome = self._judge(seat, readback, row, now, row in verified)
            if outcome is None:
                continue
            self._release(seat, now)
            final, siblings = self._attempts.end(outcome, self.slots.seats) if self._attempts else (outcome, [])
            for sibling in siblings:
                self._release(sibling, now)
            freed += 1 + len(siblings)
            if final is not None:
                outcomes.append(final)
        self._running = []
        self._halts_per_segment += 0.2 * (freed - self._halts_per_segment)
        gaps, self._gaps = self._gaps, []
        given_way, self._given_way = self._given_way, 0
        idle = self.slots.size - live
        return outcomes, Segment(self.task, live, idle, readback.shape, readback.device_s, gaps, given_way)

    def works(self) -> list[Work]:
        """Everything it holds, seated or not; of a request with several attempts in slots, each."""
        return [seat.work for seat in self.slots.seated()] + [*self.staged, *self.between_attempts()]

    def revoke(self, keys: Collection[Key], now: float) -> None:
        """Free the slots of requests that nobody wants any more."""
        self.staged = deque(work for work in self.staged if work.key not in keys)
        self._attempts.drop(keys)
        for seat in [seat for seat in self.slots.seated() if seat.work.key in keys]:
            self._release(seat, now)

    def unstage(self) -> list[Work]:
        """Give up what waits for a slot."""
        works = list(self.staged)
        self.staged.clear()
        return works

    def unseat(self, now: float) -> list[Work]:
        """Give up what sits in a slot or waits for another attempt, without an outcome."""
        works = {work.key: work for work in self.works()}
        self.revoke(works.keys(), now)
        return list(works.values())

    def _make_way(self, now: float) -> None:
        """Have extra attempts leave their slots to requests that wait."""
        missing = len(self.staged) - self.slots.free
        if missing > 0 and self._attempts:
            for seat in self._attempts.give_way(self.slots.seated(), missing):
                self._given_way += seat.segments
                self._release(seat, now)

    def _next(self, now: float) -> Work | Outcome | None:
        """Who gets the next free slot, or an end that came before it."""
        attempts = self._attempts
        if attempts.waiting and (not self.staged or attempts.further_first()):
            return attempts.resume(now)
        if not self.staged:
            return attempts.fan_out()
        work = self.staged.popleft()
        if work.deadline <= now:
            return self._unseated(work, now)
        if work.request.several:
            attempts.begin(work)
        return work

    def _admit(self, seats: Sequence[Seat]) -> None:
        works = [seat.work for seat in seats]
        verified = [work.request.mode is Mode.VERIFIED for work in works]
        most = np.array([work.max_segments for work in works])
        least = np.array([work.min_segments for work in works])
        self.runner.admit(
            Admission(
                slots=np.array([seat.slot for seat in seats]),
                tokens=np.stack([work.tokens for work in works]),
                predicted=np.stack([work.predicted for work in works]),
                puzzle_ids=np.array([work.puzzle_id for work in works]),
                min_segments=np.where(verified, most, least),  # it is the checker that ends it, not the Q-head
                max_segments=most,
            )
        )

    def _verified(self, held: Sequence[tuple[int, Seat]], readback: Readback) -> set[int]:
        """The rows whose answers the checker accepts, of those that it is to end."""
        if not self._attempts:
            return set()
        asked = [
            (row, seat.work)
            for row, seat in held
            if seat.work.request.mode is Mode.VERIFIED and seat.segments >= seat.work.min_segments
        ]
        if not asked:
            return set()
        puzzles = np.stack([work.tokens for _, work in asked])
        answers = readback.tokens[[row for row, _ in asked]]
        valid = self.info.codec.check_many(puzzles, answers)
        return {row for (row, _), accepted in zip(asked, valid, strict=True) if accepted}

    def _release(self, seat: Seat, now: float) -> None:
        self.slots.release(seat)
        self._freed_at[seat.slot] = now

    def _judge(self, seat: Seat, readback: Readback, row: int, now: float, verified: bool) -> Outcome | None:
        work = seat.work
        q_halt, q_continue = float(readback.q_halt[row]), float(readback.q_continue[row])
        confidence = float(readback.confidence[row])
        error = None
        if not (isfinite(q_halt) and isfinite(q_continue) and isfinite(confidence)):
            error = ProblemKind.INTERNAL.problem("the network's output is not a number")
            halted_by = HaltedBy.MAX_SEGMENTS
        elif verified:
            halted_by = HaltedBy.VERIFIED
        elif readback.halted[row]:
            judged = work.request.mode is not Mode.VERIFIED and work.min_segments < work.max_segments
            by_head = judged and readback.willing[row]
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


def refused(work: Work, checkpoint: str, error: Problem) -> Outcome:
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
