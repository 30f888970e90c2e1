"""Promises of the loop, with a scripted runner."""

import math

import pytest
from engine_lab import Bench, checkpoint, work

from model.checkpoint import CheckpointInfo
from service.engine.slots import InvariantError
from service.engine.table import Table
from service.schemas import HaltedBy


def test_every_puzzle_ends_once_with_the_segments_it_needed():
    b = Bench(4)
    b.give(*(work(str(n), segments=n % 5 + 1) for n in range(40)))
    b.tick(60)
    assert len(b.source.outcomes) == 40
    assert all(o.segments == int(name) % 5 + 1 for name, o in b.ended().items())
    assert {o.halted_by for o in b.source.outcomes} == {HaltedBy.ACT}


def test_a_halted_slot_runs_another_puzzle_in_the_very_next_segment():
    b = Bench(3)
    b.give(*(work(str(n), segments=1 + n % 3) for n in range(60)))
    b.tick(25)
    assert all(len(slots) == 3 for slots in b.runners[0].launched), "no slot was empty while work waited"
    assert {gap for segment in b.notes.segments for gap in segment.gaps} == {0}


def test_slots_are_given_in_the_order_of_arrival():
    b = Bench(2)
    b.give(*(work(str(n), segments=1 + n % 2) for n in range(9)))
    b.tick(12)
    seated = [name for names in b.source.moved for name in sorted(names, key=int)]
    assert list(dict.fromkeys(seated)) == [str(n) for n in range(9)]


def test_the_first_puzzle_waits_for_company_only_as_long_as_it_may():
    b = Bench(3)
    b.engine.install(Table(b.tables[0].info, b.runners[0], batch_wait_s=2.5))
    b.tick()
    b.give(work("first", segments=4, arrived=1.0))
    b.tick(2)
    assert b.runners[0].launched == [], "a segment could begin, and nobody else came yet"
    b.give(work("second", segments=1, arrived=3.0))
    b.tick()
    assert b.source.moved[-1] == ["first", "second"]
    b.give(work("third", arrived=4.0))
    b.tick()
    assert b.source.moved[-1] == ["first", "third"], "who comes later does not wait"


def test_full_slots_wait_for_nobody():
    b = Bench(2)
    b.engine.install(Table(b.tables[0].info, b.runners[0], batch_wait_s=1e6))
    b.give(*(work(str(n)) for n in range(2)))
    b.tick()
    assert len(b.source.moved[-1]) == 2


def test_an_idle_engine_sleeps_no_longer_than_it_waits_for_company():
    b = Bench(2)
    b.engine.install(Table(b.tables[0].info, b.runners[0], batch_wait_s=0.2))
    b.give(work("a", arrived=0.0))
    naps = []
    b.source.wait = naps.append
    b.engine.run(lambda: bool(naps))
    assert naps == [0.2]


def test_a_slot_never_waits_for_another():
    b = Bench(2)
    b.give(work("slow", segments=16), *(work(f"quick {n}") for n in range(10)))
    b.tick(12)
    assert [name for name in b.ended() if name.startswith("quick")] == [f"quick {n}" for n in range(10)]
    assert "slow" not in b.ended()


def test_outcomes_are_published_after_the_next_segment_was_launched():
    b = Bench(1)
    order = []
    launch, publish = b.runners[0].launch, b.source.publish
    b.runners[0].launch = lambda slots: (order.append("launch"), launch(slots))
    b.source.publish = lambda outcomes: (order.append(f"publish {outcomes[0].work.id}"), publish(outcomes))
    b.give(work("a"), work("b"))
    b.tick(3)
    assert order == ["launch", "launch", "publish a", "publish b"]


def test_work_is_fetched_ahead_only_as_much_as_is_expected_to_halt():
    b = Bench(4)
    b.give(*(work(str(n), segments=8) for n in range(50)))
    b.tick(4)
    assert len(b.tables[0].staged) == 0, "nobody halts, nothing is fetched ahead"
    b.tick(30)
    assert len(b.tables[0].staged) <= 4


def test_minimum_and_limit_of_a_request_hold():
    b = Bench(2)
    b.give(work("limited", segments=9, high=3))
    b.tick(6)
    assert b.ended()["limited"].segments == 3


def test_deadline_ends_a_seated_puzzle_with_its_best_answer():
    b = Bench(1)
    b.give(work("late", segments=16, deadline=3.5))
    b.tick(5)
    outcome = b.ended()["late"]
    assert outcome.halted_by is HaltedBy.DEADLINE
    assert outcome.tokens is not None
    assert b.tables[0].slots.held == 0


def test_deadline_ends_a_staged_puzzle_without_a_seat():
    b = Bench(1)
    b.give(work("first", segments=4), work("late", deadline=2.5), work("last"))
    b.tick(12)
    late = b.ended()["late"]
    assert (late.halted_by, late.tokens, late.segments) == (HaltedBy.DEADLINE, None, 0)
    assert set(b.ended()) == {"first", "late", "last"}


def test_a_revoked_puzzle_frees_its_slot_within_one_segment():
    b = Bench(1)
    b.give(work("unwanted", segments=16), work("next"))
    b.tick(2)
    b.source.gone = {("unwanted", 0)}
    b.tick(1)
    assert b.source.moved[-1] == ["next"]
    b.tick(2)
    assert set(b.ended()) == {"next"}


def test_a_second_delivery_of_a_puzzle_is_not_mistaken_for_the_first():
    """Its lease was lost and won again while it sat in a slot."""
    b = Bench(2)
    b.give(work("a", segments=16))
    b.tick(2)
    b.give(work("a", segments=2, delivery=1))
    b.tick(1)
    assert b.tables[0].slots.held == 2
    b.source.gone = {("a", 0)}
    b.tick(2)
    assert b.ended()["a"].segments == 2
    assert b.tables[0].slots.held == 0


def test_a_readback_for_a_revoked_seat_is_dropped():
    """The slot is revoked and taken again while its row was on the device: the new owner must not get the old row."""
    b = Bench(1)
    b.give(work("old", segments=1))
    b.tick(1)
    table = b.tables[0]
    table.revoke({("old", 0)}, b.now)
    table.slots.seat(work("new", segments=5), b.now)
    ended, _ = table.settle(table.collect(), b.now)
    assert ended == []
    assert table.slots.find(("new", 0, 0)).segments == 0


def test_not_a_number_ends_that_puzzle_and_nobody_elses():
    b = Bench(2)
    b.runners[0].poisoned = {0}
    b.give(work("poisoned", segments=3), work("healthy", segments=3))
    b.tick(5)
    assert "not a number" in b.ended()["poisoned"].error.detail
    assert b.ended()["poisoned"].tokens is None
    assert b.ended()["healthy"].error is None


def test_what_a_new_checkpoint_cannot_take_is_the_callers_fault_and_not_the_servers(tmp_path):
    (tmp_path / "identifiers.json").write_text('{"known": 1}')
    b = Bench(1)
    b.engine.install(Table(CheckpointInfo("sudoku", "2", tmp_path, checkpoint().config), b.runners[0]))
    b.give(work("read for the old one"))
    b.tick()
    problem = b.ended()["read for the old one"].error
    assert (problem.status, problem.detail) == (422, "checkpoint sudoku/2 needs a puzzle_id")


def test_trace_has_a_thought_for_every_segment():
    b = Bench(2)
    b.give(work("traced", segments=3, trace=True), work("plain", segments=3))
    b.tick(5)
    assert len(b.ended()["traced"].thoughts) == 3
    assert not b.ended()["plain"].thoughts


def test_tables_share_the_device_by_time_and_not_by_ticks():
    b = Bench(1, 1, device_s=(1.0, 4.0))
    b.give(*(work(f"c{n}", segments=16) for n in range(100)), *(work(f"d{n}", 16, task="other") for n in range(100)))
    b.tick(200)
    cheap, dear = (len(runner.launched) for runner in b.runners)
    assert math.isclose(cheap * 1.0, dear * 4.0, rel_tol=0.05)


def test_a_late_puzzle_of_one_task_sends_nobody_of_another_to_sleep():
    b = Bench(1, 1)
    live = []
    b.source.wait = lambda _: live.append(b.tables[0].slots.held)
    b.give(work("live", segments=9))
    b.tick()
    b.give(work("late", task="other", deadline=0.5))
    b.engine.run(lambda: "live" in b.ended())
    assert (set(b.ended()), live) == ({"late", "live"}, [0]), "it slept once, when all had ended"


def test_an_idle_table_saves_up_no_time():
    b = Bench(1, 1)
    b.give(*(work(f"c{n}", segments=16) for n in range(10)))
    b.tick(100)
    before = len(b.runners[0].launched)
    b.give(*(work(f"c{n}", 16) for n in range(100, 120)), *(work(f"d{n}", 16, task="other") for n in range(20)))
    b.tick(40)
    assert abs((len(b.runners[0].launched) - before) - len(b.runners[1].launched)) <= 2


def test_drain_finishes_what_sits_and_hands_back_the_rest():
    b = Bench(2)
    b.give(*(work(str(n), segments=3) for n in range(6)))
    b.tick(2)
    b.tables[0].staged.append(work("staged"))
    assert [w.id for w in b.engine.unstage()] == ["staged"]
    assert b.engine.drain(until=100.0) == []
    assert set(b.ended()) == {"0", "1"}


def test_drain_gives_up_at_its_time():
    b = Bench(1)
    b.give(work("endless", segments=16))
    b.tick(2)
    back = b.engine.drain(until=b.now)
    assert [w.id for w in back] == ["endless"]
    assert b.tables[0].slots.held == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda b: b.tables[0].slots._free.append(0), "1 held and 2 free of 2 slots"),
        (lambda b: b.source.leases.clear(), "1 of 1 held puzzles without a lease"),
        (lambda b: b.source.leases.add(("forgotten", 0)), "0 of 1 held puzzles without a lease, 2 leases"),
    ],
    ids=["a slot is free and held", "a slot without a lease", "a lease without a slot"],
)
def test_an_engine_that_contradicts_itself_says_so(wrong, says):
    for strict in (True, False):
        b = Bench(2, strict=strict)
        b.give(work("a", segments=16))
        b.tick()
        wrong(b)
        if strict:
            with pytest.raises(InvariantError, match=says):
                b.tick()
        else:
            b.tick()
            assert says in b.notes.violations[0]


def test_the_sign_of_life_tells_how_many_are_live():
    b = Bench(4)
    b.tick()
    b.give(work("a", segments=2), work("b", segments=1))
    b.tick(3)
    assert b.notes.rounds == [0, 2, 1, 0]


def test_segments_of_idle_slots_are_counted_as_waste():
    b = Bench(4)
    b.give(work("a", segments=2), work("b", segments=1))
    b.tick(4)
    assert [(s.live, s.idle) for s in b.notes.segments] == [(2, 2), (1, 3)]
