"""The books of a worker's claims, against a model: hypothesis plays the queue, the engine and the publishing thread."""

from dataclasses import dataclass

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.broker.records import Claim
from service.engine.table import refused
from service.engine.work import Room, Work
from service.schemas import Lane, SolveRequest
from service.worker.holdings import Holdings
from tests.conftest import PUZZLE
from tests.service.engine.engine_lab import checkpoint

TASK = "sudoku"
REQUEST = SolveRequest(task=TASK, puzzle=PUZZLE)
some = st.integers(0, 3)


def claim(name: str, fence: int) -> Claim:
    return Claim(name, TASK, Lane.NORMAL, b"", fence, 1, 60.0, 0.0)


def work(claim: Claim) -> Work:
    tokens = np.zeros(81, np.uint8)
    return Work(claim.id, REQUEST, checkpoint(), tokens, tokens > 0, 1, 16, delivery=claim.fence)


@dataclass
class Delivery:
    claim: Claim
    work: Work
    where: str = "ready"
    moved: bool = False
    seated: bool = False


class Books(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.holdings = Holdings()
        self.fences: dict[str, int] = {}
        self.held: dict[str, Delivery] = {}
        self.engine: list[Delivery] = []
        self.unheard: set[tuple[str, int]] = set()
        """Revoked, and the engine does not know yet."""
        self.said: list[str] = []
        self.expected: list[str] = []

    @rule(name=st.sampled_from("abcdef"))
    def deliver(self, name: str) -> None:
        """Also what is here already: its lease was lost and won again."""
        self.fences[name] = self.fences.get(name, 0) + 1
        new = claim(name, self.fences[name])
        self.lose(name)
        self.held[name] = Delivery(new, work(new))
        self.holdings.accept([(new, self.held[name].work)])

    def lose(self, name: str) -> None:
        old = self.held.pop(name, None)
        if old in self.engine:
            self.unheard.add(old.claim.key)

    @rule(wanted=some)
    def poll(self, wanted: int) -> None:
        ready = [delivery for delivery in self.held.values() if delivery.where == "ready"]
        works = self.holdings.poll({TASK: Room(wanted, 0)})
        assert works == [delivery.work for delivery in ready[:wanted]], "in the order of arrival"
        for delivery in ready[:wanted]:
            delivery.where = "engine"
            self.engine.append(delivery)

    @rule()
    def poll_after_the_task_was_withdrawn(self) -> None:
        assert self.holdings.poll({}) == []
        for delivery in [delivery for delivery in self.held.values() if delivery.where == "ready"]:
            self.expected.append(f"return {delivery.claim.key}")
            del self.held[delivery.claim.id]

    @rule()
    def revoke(self) -> None:
        revoked = set(self.holdings.revoked())
        assert revoked == self.unheard
        self.engine = [delivery for delivery in self.engine if delivery.claim.key not in revoked]
        self.unheard.clear()

    @rule(count=some)
    def advance(self, count: int) -> None:
        running = self.engine[:count]
        waiting = [delivery for delivery in self.engine[count:] if delivery.seated]
        self.holdings.advance([delivery.work for delivery in running], [delivery.work for delivery in waiting])
        for delivery in running:
            delivery.moved = delivery.seated = True
        for delivery in waiting:
            delivery.seated = False

    def leave_engine(self, delivery: Delivery, word: str) -> None:
        self.engine.remove(delivery)
        if self.held.get(delivery.claim.id) is delivery:
            self.expected.append(f"{word} {delivery.claim.key}")
            del self.held[delivery.claim.id]
        self.unheard.discard(delivery.claim.key)

    @rule(count=some)
    def end(self, count: int) -> None:
        ended = self.engine[:count]
        self.holdings.leave([refused(delivery.work, "sudoku/1", "") for delivery in ended])
        for delivery in ended:
            self.leave_engine(delivery, "end")

    @rule(count=some)
    def give_back(self, count: int) -> None:
        given = self.engine[:count]
        self.holdings.give_back([delivery.work for delivery in given])
        for delivery in given:
            self.leave_engine(delivery, "return")

    @rule()
    def renew(self) -> None:
        claims, ahead = self.holdings.due()
        moved = [delivery for delivery in self.held.values() if delivery.moved]
        assert {delivery.claim for delivery in moved} <= set(claims), "what moved is renewed"
        assert ahead == {claim.id for claim in claims if not self.held[claim.id].seated}
        assert {claim.key for claim in claims} <= {delivery.claim.key for delivery in self.held.values()}
        stuck = [delivery.claim for delivery in self.held.values() if delivery.seated and not delivery.moved]
        assert not set(stuck) & set(claims), "what sits and does not move is not"
        for delivery in self.held.values():
            delivery.moved = False

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """What is dropped may have been replaced meanwhile by a later delivery: that one stays."""
        name = data.draw(st.sampled_from(sorted(self.fences) or ["a"]))
        fence = data.draw(st.integers(max(1, self.fences.get(name, 1) - 1), self.fences.get(name, 1)))
        current = self.held.get(name)
        named = current.claim if current and current.claim.fence == fence else claim(name, fence)
        dropped = self.holdings.drop([named])
        if current and named is current.claim:
            assert dropped == [named]
            self.lose(name)
        else:
            assert dropped == []

    @rule()
    def collect(self) -> None:
        outbox = self.holdings.outbox(0)
        self.said += [f"end {outcome.work.key}" for outcome in outbox.ended]
        self.said += [f"return {claim.key}" for claim in outbox.returned]
        assert sorted(self.said) == sorted(self.expected), "everything is said once"

    @invariant()
    def the_engine_holds_what_is_leased(self) -> None:
        assert self.holdings.inside() == {delivery.claim.key for delivery in self.engine}

    def teardown(self) -> None:
        self.holdings.stop()
        for delivery in list(self.held.values()):
            if delivery.where == "ready":
                self.expected.append(f"return {delivery.claim.key}")
        self.collect()
        assert self.holdings.gap(TASK, 0) is None


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
