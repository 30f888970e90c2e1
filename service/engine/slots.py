"""The slot table: who sits where, since when, and how far they have come."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.engine.work import Place, Thought, Work


class InvariantError(AssertionError):
    """The table contradicts itself; this is a defect, never a user's mistake."""


@dataclass(eq=False, slots=True)
class Seat:
    """One piece of work in one slot."""

    slot: int
    generation: int
    work: Work
    since: float
    segments: int = 0
    thoughts: list[Thought] = field(default_factory=list)


class SlotTable:
    """A fixed number of slots; the lowest free one is taken first, so that busy slots stay together.

    A slot's generation rises with every seating: what was read for an earlier one is recognised and dropped.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.seats: list[Seat | None] = [None] * size
        self.generations: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
        self._free = list(range(size))
        self._by_place: dict[Place, Seat] = {}

    @property
    def free(self) -> int:
        """How many slots are empty."""
        return len(self._free)

    @property
    def held(self) -> int:
        """How many slots are taken."""
        return len(self._by_place)

    def seated(self) -> list[Seat]:
        """The taken seats, by slot."""
        return [seat for seat in self.seats if seat is not None]

    def find(self, place: Place) -> Seat | None:
        """Where a piece of work sits, if it does."""
        return self._by_place.get(place)

    def holds(self, seat: Seat) -> bool:
        """Whether a seat is still what its slot holds: false once it was released, whoever sits there now."""
        current = self.seats[seat.slot]
        return current is not None and current.generation == seat.generation

    def seat(self, work: Work, now: float) -> Seat:
        """Give `work` a slot; raises InvariantError if none is free or it sits already."""
        if not self._free:
            raise InvariantError("no free slot")
        if work.place in self._by_place:
            raise InvariantError(f"{work.id} sits already")
        slot = heapq.heappop(self._free)
        self.generations[slot] += 1
        seat = Seat(slot, int(self.generations[slot]), work, now)
        self.seats[slot] = self._by_place[work.place] = seat
        return seat

    def release(self, seat: Seat) -> None:
        """Free a seat's slot."""
        if not self.holds(seat):
            raise InvariantError(f"slot {seat.slot} is not held by {seat.work.id}")
        self.seats[seat.slot] = None
        del self._by_place[seat.work.place]
        heapq.heappush(self._free, seat.slot)

    def check(self) -> None:
        """Raise InvariantError unless free + held = size and every index agrees."""
        held = {slot for slot, seat in enumerate(self.seats) if seat is not None}
        if held & set(self._free) or len(held) + len(set(self._free)) != self.size:
            raise InvariantError(f"{len(held)} held and {len(self._free)} free of {self.size} slots")
        if {seat.slot for seat in self._by_place.values()} != held:
            raise InvariantError("the index by place disagrees with the slots")
