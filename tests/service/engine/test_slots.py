import pytest
from engine_lab import work
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.engine.slots import InvariantError, SlotTable

SIZE = 5


class Slots(RuleBasedStateMachine):
    """The table against a dictionary."""

    def __init__(self):
        super().__init__()
        self.table, self.model, self.named, self.released = SlotTable(SIZE), {}, 0, []

    @precondition(lambda self: len(self.model) < SIZE)
    @rule()
    def seat(self):
        self.named += 1
        seat = self.table.seat(work(str(self.named)), now=float(self.named))
        assert seat.slot not in {s.slot for s in self.model.values()}
        assert seat.slot == min(set(range(SIZE)) - {s.slot for s in self.model.values()})
        self.model[seat.work.id] = seat

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def release(self, data):
        name = data.draw(st.sampled_from(sorted(self.model)))
        seat = self.model.pop(name)
        self.table.release(seat)
        self.released.append(seat)

    @precondition(lambda self: self.released)
    @rule(data=st.data())
    def what_was_read_for_an_earlier_generation_is_recognised(self, data):
        old = data.draw(st.sampled_from(self.released))
        assert not self.table.holds(old)
        with pytest.raises(InvariantError):
            self.table.release(old)

    @invariant()
    def agrees(self):
        self.table.check()
        assert self.table.free == SIZE - len(self.model)
        assert {s.work.id for s in self.table.seated()} == set(self.model)
        assert all(self.table.find((name, 0, 0)) is seat for name, seat in self.model.items())


TestSlots = Slots.TestCase


def test_a_full_table_and_a_second_seat_are_defects():
    table = SlotTable(1)
    table.seat(work("a"), 0.0)
    with pytest.raises(InvariantError, match="no free slot"):
        table.seat(work("b"), 0.0)


def test_nobody_sits_twice():
    table = SlotTable(2)
    table.seat(work("a"), 0.0)
    with pytest.raises(InvariantError, match="sits already"):
        table.seat(work("a"), 0.0)


def test_check_finds_a_lost_slot():
    table = SlotTable(2)
    table.seats[1] = table.seat(work("a"), 0.0)
    with pytest.raises(InvariantError):
        table.check()
