"""Requests with several attempts, in the real engine over a runner that solves when it is told to.

The network is replaced, nothing else: a `Solver` gives a puzzle's true answer after a scripted number of segments of an
attempt, or never.
"""

import numpy as np
import pytest
from engine_lab import SUDOKU, TOKENS, Bench, checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from service.engine.codec import decode, encode
from service.engine.runner import Readback
from service.engine.table import WAITING_PER_SLOT
from service.schemas import HaltedBy, SolveRequest

ANSWER = SUDOKU.parse_answer(SUDOKU.examples()[0][1])
NEVER = 10**6


class Solver:
    """Solves the attempt with number n in its `plan[n]`-th segment; until then, and after a wrong plan, it is wrong.

    Attempts are told apart by the order of their admissions.
    """

    def __init__(self, size, plan, q=None):
        self.size, self.plan, self.q = size, plan, q or {}
        self.admitted = 0
        self.rows = {}
        self.limit = {}
        self.launched = []

    def admit(self, admission):
        for row, slot in enumerate(admission.slots):
            number, self.admitted = self.admitted, self.admitted + 1
            self.rows[int(slot)] = [admission.tokens[row], 0, number]
            self.limit[int(slot)] = (admission.min_segments[row], admission.max_segments[row])

    def launch(self, slots):
        self.launched.append(slots.tolist())

    def collect(self):
        slots = self.launched[-1]
        answers, halted, q = [], [], []
        for slot in slots:
            row = self.rows[slot]
            row[1] += 1
            tokens, done, number = row
            answers.append(solution_of(tokens) if done >= self.plan(number) else np.full(81, 2, np.uint8))
            q.append(self.q.get(number, 1.0))
            halted.append(done >= self.limit[slot][0])
        zeros, n = np.zeros(len(slots), np.float32), len(slots)
        q = np.array(q, np.float32)
        halted = np.array(halted)
        return Readback(np.stack(answers), halted, halted, q, -q, zeros + 0.5, zeros, zeros, n, 1.0)

    def describe(self):
        return {"backend": "scripted"}


def solution_of(view):
    """The answer to a view of the one puzzle: found by the relabelling and moving that made the view."""
    return SOLUTIONS[view.tobytes()]


SOLUTIONS = {TOKENS.tobytes(): ANSWER}


@pytest.fixture(autouse=True)
def solutions(monkeypatch):
    """Whatever symmetry the engine applies to the puzzle is applied to its answer, too."""
    real = type(SUDOKU).random_symmetry

    def noted(task, rng):
        symmetry = real(task, rng)
        SOLUTIONS[symmetry.apply(TOKENS).tobytes()] = symmetry.apply(ANSWER)
        return symmetry

    monkeypatch.setattr(type(SUDOKU), "random_symmetry", noted)


def bench(size, plan, **others):
    b = Bench(size, **others)
    b.tables[0].runner = Solver(size, plan)
    return b


def ask(name, mode="verified", attempts=4, most=4, *, total=None, deadline=float("inf"), trace=False, low=1):
    request = SolveRequest(
        task="sudoku", puzzle=SUDOKU.examples()[0][0], mode=mode, max_segments=most, min_segments=low, trace=trace,
        **({"attempts": attempts, "max_total_segments": total} if mode in ("verified", "vote") else {}),
    )  # fmt: skip
    return encode(request, checkpoint(), work_id=name, deadline=deadline)


def answer(b, name):
    outcome = b.ended()[name]
    return decode([outcome])[0], outcome


def test_a_verified_attempt_ends_in_the_segment_in_which_it_is_right():
    b = bench(4, lambda number: 3)
    b.give(ask("a", most=16))
    b.tick(6)
    said, outcome = answer(b, "a")
    assert (said.valid, said.halted_by, said.segments) == (True, HaltedBy.VERIFIED, 3)
    assert (said.attempts, said.total_segments, said.symmetry) == (1, 3, "identity")
    assert np.array_equal(outcome.tokens, ANSWER)


def test_the_q_head_does_not_end_a_verified_attempt():
    """The scripted Q-head wants to stop at once."""
    b = bench(4, lambda number: 9)
    b.give(ask("a", most=16), ask("plain", mode="act", most=16))
    b.tick(12)
    assert answer(b, "a")[0].segments == 9
    assert answer(b, "plain")[0].segments == 1


def test_further_attempts_look_under_other_symmetries_and_the_answer_is_turned_back():
    b = bench(1, lambda number: 2 if number == 2 else NEVER)
    b.give(ask("a", most=4))
    b.tick(14)
    said, outcome = answer(b, "a")
    assert said.valid
    assert said.solution == SUDOKU.examples()[0][1]
    assert (said.attempts, said.total_segments, said.segments) == (3, 4 + 4 + 2, 2)
    assert said.symmetry != "identity"
    assert outcome.spent.winner == 2


def test_a_search_begins_alone_and_fans_out_into_idle_slots():
    b = bench(8, lambda number: NEVER)
    b.give(ask("a", attempts=32, most=2))
    b.tick(4)
    running = [len(slots) for slots in b.tables[0].runner.launched]
    assert running == [1, 1, 4, 4], "one, and when it has failed, half of the slots"


def test_siblings_of_a_solved_request_are_freed_with_it():
    b = bench(8, lambda number: 3 if number == 2 else NEVER)
    b.give(ask("a", attempts=32, most=8))
    b.tick(8 + 3)
    assert b.tables[0].slots.held == 4
    b.tick(1)
    assert b.tables[0].slots.held == 0
    said, outcome = answer(b, "a")
    assert said.valid
    assert said.total_segments == 8 + 4 * 3
    assert outcome.spent.lost == 3 * 3
    b.tick(1)
    assert len(b.source.outcomes) == 1


def test_extra_attempts_give_way_to_requests_that_wait():
    b = bench(4, lambda number: NEVER, names=("sudoku",))
    b.give(ask("a", attempts=8, most=8))
    b.tick(10)
    assert b.tables[0].slots.held == 2
    b.give(*(ask(f"plain {n}", mode="fixed", most=3) for n in range(3)))
    b.tick(1)
    assert {w.id for w in b.tables[0].works()} == {"a", "plain 0", "plain 1", "plain 2"}
    assert len(b.tables[0].runner.launched[-1]) == 4
    b.tick(80)
    said, _ = answer(b, "a")
    assert (said.attempts, said.total_segments) == (8, 64), "what gave way is had in full later"
    assert sum(segment.given_way for segment in b.notes.segments) > 0


def test_further_attempts_get_their_turn_while_new_requests_keep_coming():
    b = bench(2, lambda number: NEVER)
    b.give(ask("a", attempts=3, most=2))
    b.give(*(ask(f"plain {n}", mode="fixed", most=2) for n in range(200)))
    b.tick(60)
    assert "a" in b.ended()


def test_new_requests_are_served_beside_a_flood_of_searches():
    b = bench(4, lambda number: NEVER)
    b.give(*(ask(f"search {n}", attempts=32, most=4) for n in range(40)))
    b.tick(100)
    b.give(ask("plain", mode="fixed", most=1))
    waited = 0
    while "plain" not in b.ended():
        b.tick(1)
        waited += 1
    assert waited < 40, "there are 36 searches before it in the queue, each of which wants 128 segments"


def test_a_flood_of_searches_stays_in_the_queue_but_for_what_the_slots_can_keep_going():
    b = bench(4, lambda number: NEVER)
    b.give(*(ask(f"search {n}", attempts=32, most=4) for n in range(200)))
    b.tick(400)
    held = 200 - len(b.source.waiting) - len(b.ended())
    assert held <= (WAITING_PER_SLOT + 2) * 4
    assert len(b.source.waiting) > 100


@pytest.mark.parametrize(("total", "segments"), [(10, 10), (3, 3), (64, 16)])
def test_the_budget_bounds_all_attempts_together(total, segments):
    b = bench(4, lambda number: NEVER)
    b.give(ask("a", attempts=4, most=4, total=total))
    b.tick(60)
    said, _ = answer(b, "a")
    assert said.total_segments == segments
    assert (said.valid, said.halted_by) == (False, HaltedBy.MAX_SEGMENTS)
    assert said.violations


def test_without_a_valid_attempt_it_is_the_one_that_the_q_head_thinks_most_of():
    b = bench(1, lambda number: NEVER)
    b.tables[0].runner.q = {0: -1.0, 1: 2.0, 2: 0.5}
    b.give(ask("a", attempts=3, most=2))
    b.tick(10)
    said, outcome = answer(b, "a")
    assert (outcome.spent.winner, said.q_halt, said.valid) == (1, 2.0, False)


def test_a_deadline_ends_all_attempts_with_the_best_so_far():
    b = bench(4, lambda number: NEVER)
    b.give(ask("a", attempts=32, most=4, deadline=9.5))
    b.tick(12)
    said, _ = answer(b, "a")
    assert said.status == 504
    assert said.answer["valid"] is False
    assert b.tables[0].slots.held == 0
    assert not b.tables[0].busy


def test_a_deadline_ends_a_request_that_waits_for_another_attempt():
    b = bench(1, lambda number: NEVER)
    b.give(ask("a", attempts=9, most=2, deadline=6.0))
    b.give(*(ask(f"plain {n}", mode="fixed", most=16) for n in range(3)))
    b.tick(60)
    assert answer(b, "a")[0].status == 504
    assert len(b.source.outcomes) == 4


def test_cancelled_it_leaves_nothing_behind():
    b = bench(8, lambda number: NEVER)
    b.give(ask("a", attempts=32, most=2))
    b.tick(5)
    assert b.tables[0].slots.held == 4
    b.source.gone = {("a", 0)}
    b.tick(1)
    assert not b.tables[0].busy
    assert b.source.outcomes == []


def test_a_request_that_waits_for_its_turn_is_told_from_one_that_runs():
    b = bench(1, lambda number: NEVER)
    b.give(ask("a", attempts=2, most=2), ask("plain", mode="fixed", most=16))
    b.tick(6)
    assert (b.source.moved[-1], b.source.between[-1]) == (["plain"], ["a"])


def test_what_is_given_up_at_the_end_is_given_up_once():
    b = bench(8, lambda number: NEVER)
    b.give(ask("a", attempts=32, most=4))
    b.tick(7)
    assert [work.id for work in b.engine.drain(until=b.now)] == ["a"]
    assert not b.tables[0].busy


def test_a_vote_counts_all_looks():
    """Four of six looks are right; the others give different nonsense, which all-equal cells are under every view."""
    b = bench(16, lambda number: 1 if number % 3 else NEVER)
    b.give(ask("a", mode="vote", attempts=6, most=1))
    b.tick(4)
    said, _ = answer(b, "a")
    assert said.solution == SUDOKU.examples()[0][1]
    assert said.votes[0].votes == 4
    assert said.votes[0].solution == said.solution
    assert (said.attempts, said.total_segments, said.valid) == (6, 6, True)


def test_a_trace_shows_the_winning_attempt_in_the_puzzles_own_orientation():
    b = bench(1, lambda number: 2 if number == 1 else NEVER)
    b.give(ask("a", most=3, trace=True))
    b.tick(8)
    said, _ = answer(b, "a")
    assert [step.segment for step in said.trace] == [1, 2]
    assert said.trace[-1].grid == said.solution


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.lists(
        st.tuples(st.sampled_from(["act", "fixed", "verified", "vote"]), st.integers(1, 5), st.integers(1, 4)),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_every_request_ends_once_within_its_budget(size, requests, random):
    plan = {}
    b = bench(size, lambda number: plan.setdefault(number, random.choice([1, 2, 3, NEVER])))
    for n, (mode, attempts, most) in enumerate(requests):
        b.give(ask(str(n), mode=mode, attempts=attempts, most=most))
        b.tick(random.randrange(3))
    b.tick(400)
    assert sorted(o.work.id for o in b.source.outcomes) == sorted(str(n) for n in range(len(requests)))
    assert not b.tables[0].busy
    for name, outcome in b.ended().items():
        mode, attempts, most = requests[int(name)]
        if mode in ("verified", "vote"):
            assert outcome.spent.segments <= attempts * most
            assert outcome.spent.attempts <= attempts
        if outcome.halted_by is HaltedBy.VERIFIED:
            assert np.array_equal(outcome.tokens, ANSWER)


class Crowd:
    """Keeps as many requests of one kind unfinished as there are slots, and sends probes at random times."""

    def __init__(self, bench, kind):
        self.bench, self.kind, self.made = bench, kind, 0
        self.arrived, self.rng = {}, np.random.default_rng(0)

    def latencies(self, ticks):
        """How many segments each probe took from its arrival to its answer."""
        for tick in range(ticks):
            ended = self.bench.ended()
            while self.made - sum(name.startswith("other") for name in ended) < SLOTS:
                self.bench.give(self.kind(f"other {self.made}"))
                self.made += 1
            if self.rng.random() < 0.15:
                self.arrived[f"probe {tick}"] = tick
                self.bench.give(ask(f"probe {tick}", mode="fixed", most=int(self.rng.integers(2, 10))))
            self.bench.tick()
            for name in self.bench.ended().keys() - ended.keys():
                if name in self.arrived:
                    self.arrived[name] = tick - self.arrived[name]
        return [taken for name, taken in self.arrived.items() if name in self.bench.ended()]


SLOTS = 16


def test_single_attempts_fare_beside_a_flood_as_beside_plain_requests():
    """95 of 100 of them take at most half as long again as beside as many slots that are busy with single attempts."""
    kinds = {
        "plain": lambda name: ask(name, mode="fixed", most=16),
        "flood": lambda name: ask(name, mode="verified", attempts=32, most=16),
    }
    p95 = {}
    for name, kind in kinds.items():
        taken = Crowd(bench(SLOTS, lambda number: NEVER), kind).latencies(1500)
        assert len(taken) > 150
        p95[name] = np.percentile(taken, 95)
    assert p95["flood"] <= 1.5 * p95["plain"]
