"""The requests of one table that have several attempts to spend, and whose turn the next attempt is."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from service.engine.inquiry import Inquiry
from service.engine.slots import Seat
from service.engine.work import Key, Outcome, Work
from service.schemas import HaltedBy

FRESH_PER_FURTHER = 3
"""How many new requests get a slot for each further attempt that gets one, where both wait."""


class Attempts:
    """Keeps the inquiries of a table.

    While slots are idle, attempts of one request run beside each other, as many as its share of the slots allows.
    While requests wait, those extra attempts give way, and further attempts come one after another.
    """

    def __init__(self, share: int) -> None:
        self._share = share
        """Slots that one request may hold at most."""
        self._open: dict[Key, Inquiry] = {}
        self._waiting: deque[Inquiry] = deque()
        """Those without an attempt in a slot, in the order in which they lost it."""
        self._turn = 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._open)

    @property
    def waiting(self) -> int:
        """How many requests have no attempt in a slot and may begin another."""
        return len(self._waiting)

    def waiting_works(self) -> list[Work]:
        """The requests that hold no slot just now."""
        return [inquiry.work for inquiry in self._waiting]

    def begin(self, work: Work) -> None:
        """A request's first attempt gets a slot."""
        self._open[work.key] = Inquiry.of(work)

    def further_first(self) -> bool:
        """Whether it is a further attempt's turn although new requests wait, too."""
        self._turn = (self._turn + 1) % (FRESH_PER_FURTHER + 1)
        return self._turn == 0

    def resume(self, now: float) -> Work | Outcome:
        """What the longest waiting request does next: another attempt, or its end."""
        inquiry = self._waiting.popleft()
        late = inquiry.work.deadline <= now
        work = None if late else inquiry.start()
        if work is not None:
            return work
        del self._open[inquiry.work.key]
        return inquiry.outcome(HaltedBy.DEADLINE if late else None)

    def fan_out(self) -> Work | None:
        """One more attempt for an idle slot, of the request that holds the fewest; None where none may have more."""
        while able := [i for i in self._open.values() if 0 < i.running < self._share and i.fans_out]:
            work = min(able, key=lambda inquiry: inquiry.running).start()
            if work is not None:
                return work
        return None

    def extra(self) -> int:
        """How many seats would give way to requests that wait."""
        return sum(max(0, inquiry.running - 1) for inquiry in self._open.values())

    def give_way(self, seats: Iterable[Seat], wanted: int) -> list[Seat]:
        """Choose up to `wanted` seats of extra attempts, the youngest first, whose slots others shall have."""
        given: list[Seat] = []
        for seat in sorted(seats, key=lambda seat: seat.segments):
            inquiry = self._open.get(seat.work.key)
            if len(given) < wanted and inquiry is not None and inquiry.running > 1:
                inquiry.give_way(seat.work)
                given.append(seat)
        return given

    def end(self, outcome: Outcome, seats: Iterable[Seat | None]) -> tuple[Outcome | None, list[Seat]]:
        """An attempt, out of its slot already, ended: what its request comes to, if that settles it, and whom it frees.

        Args:
            outcome: the attempt's.
            seats: all of the table's; those of the same request are picked.
        """
        inquiry = self._open.get(outcome.work.key)
        if inquiry is None:
            return outcome, []
        if not inquiry.end(outcome):
            if not inquiry.running:
                self._waiting.append(inquiry)
            return None, []
        freed = [seat for seat in seats if seat and seat.work.key == outcome.work.key] if inquiry.running else []
        for seat in freed:
            inquiry.stop(seat.work, seat.segments)
        del self._open[outcome.work.key]
        return inquiry.outcome(), freed

    def drop(self, keys: Collection[Key]) -> None:
        """Forget requests that nobody wants any more, or that are given up."""
        for key in keys:
            self._open.pop(key, None)
        self._waiting = deque(inquiry for inquiry in self._waiting if inquiry.work.key not in keys)
