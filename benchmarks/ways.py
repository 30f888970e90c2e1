"""Ways to answer the same puzzles with the same runner: the service's engine, and what a user would run instead."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from model.tasks import Tokens
from service.engine.choice import segment_s
from service.engine.loop import Engine
from service.engine.runner import Admission, Runner
from service.engine.table import Segment, Table
from service.engine.torch_runner import TorchRunner
from service.engine.work import Key, Outcome, Room, Work

Batching = Literal["M_max", "last", "shrinking"]
"""Batches that run all M_max segments; until their last row has halted; of only those rows that have not halted."""


class Bystander:
    """What an engine asks of a source and an observer besides work: nobody gives up, nobody is told."""

    __slots__ = ()

    def revoked(self) -> Collection[Key]:
        return ()

    def leased(self) -> None: ...

    def advanced(self, running: Sequence[Work], waiting: Sequence[Work]) -> None: ...

    def wait(self, timeout_s: float) -> None: ...

    def retired(self, table: Table) -> None: ...

    def alive(self, live: int) -> None: ...

    def violation(self, what: str) -> None: ...


@dataclass(slots=True)
class Saturated(Bystander):
    """A source that always has work, and an observer that counts."""

    waiting: deque[Work]
    slots: int
    outcomes: list[Outcome] = field(default_factory=list)
    live: int = 0
    run: int = 0

    def poll(self, room: Mapping[str, Room]) -> list[Work]:
        (wanted,) = room.values()
        return [self.waiting.popleft() for _ in range(min(wanted.wanted, len(self.waiting)))]

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes.extend(outcomes)

    def segment(self, segment: Segment) -> None:
        """Count while all slots could be busy: from the first full segment to the last arrival."""
        if self.waiting:
            self.live += segment.live
            self.run += self.slots

    @property
    def occupancy(self) -> float:
        """Live slot-segments of all, under saturation."""
        return self.live / self.run

    @property
    def mean_segments(self) -> float:
        return sum(outcome.segments for outcome in self.outcomes) / len(self.outcomes)

    @property
    def answers(self) -> dict[str, Tokens]:
        return {o.work.id: o.tokens for o in self.outcomes if o.tokens is not None}


def run_engine(table: Table, queue: Sequence[Work]) -> tuple[float, Saturated]:
    """Seconds for all puzzles, and what was counted."""
    source = Saturated(deque(queue), table.slots.size)
    engine = Engine(source, source, time.monotonic, strict=False)
    engine.install(table)
    start = time.perf_counter()
    while engine.tick() or source.waiting:
        pass
    return time.perf_counter() - start, source


def run_batches(
    runner: Runner, queue: Sequence[Work], batching: Batching, limit: int, size: int | None = None
) -> tuple[float, dict[str, Tokens]]:
    """Seconds for all puzzles in batches that are filled only when the whole batch is done, and the answers.

    A row's answer is the one it had when it halted, also where it then runs on.
    """
    size = size or runner.size
    answers: dict[str, Tokens] = {}
    start = time.perf_counter()
    for first in range(0, len(queue), size):
        batch = queue[first : first + size]
        slots = np.arange(len(batch))
        admit(runner, batch)
        for _ in range(limit):
            runner.launch(slots)
            said = runner.collect()
            for slot, tokens in zip(slots[said.halted], said.tokens[said.halted], strict=True):
                answers.setdefault(batch[slot].id, tokens)
            if batching == "shrinking":
                slots = slots[~said.halted]
            if batching != "M_max" and len(answers) == first + len(batch):
                break
    return time.perf_counter() - start, answers


def admit(runner: Runner, batch: Sequence[Work]) -> None:
    """Put a batch into the first slots."""
    runner.admit(
        Admission(
            slots=np.arange(len(batch)),
            tokens=np.stack([work.tokens for work in batch]),
            predicted=np.stack([work.predicted for work in batch]),
            puzzle_ids=np.array([work.puzzle_id for work in batch]),
            min_segments=np.array([work.min_segments for work in batch]),
            max_segments=np.array([work.max_segments for work in batch]),
        )
    )


def bare_segment_s(runner: Runner, segments: int = 40) -> float:
    """Mean seconds that the device takes for one segment of all slots, with nothing around it."""
    assert isinstance(runner, TorchRunner)
    return float(np.mean([segment_s(runner, runner.size) for _ in range(segments)]))
