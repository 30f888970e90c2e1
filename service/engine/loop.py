"""The engine's loop: collect, free, refill, launch the next segment, and only then publish.

Free of torch, of the clock and of Redis: runners, clock and source are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from service.engine.schedule import DeficitRoundRobin
from service.engine.table import Segment, Table
from service.engine.work import Outcome, Source, Work

IDLE_WAIT_S = 0.5
"""How long an idle engine waits for work before it looks after itself again."""


class Observer(Protocol):
    """Is told what happens, for metrics and probes."""

    def segment(self, segment: Segment) -> None:
        """One table ran one segment."""
        ...

    def outcome(self, outcome: Outcome) -> None:
        """One piece of work ended."""
        ...

    def revoked(self, task: str, count: int) -> None:
        """Nobody wanted these any more."""
        ...

    def alive(self, live: int) -> None:
        """The loop went round, with so many live slots."""
        ...


class Engine:
    """Runs the tables of one device until it is told to stop.

    A tick belongs to one table; with several tables the device's time is shared by deficit round robin.
    """

    def __init__(
        self, tables: Iterable[Table], source: Source, observer: Observer, clock: Callable[[], float], strict: bool
    ) -> None:
        self.tables = list(tables)
        self._source, self._observer, self._clock, self._strict = source, observer, clock, strict
        self._schedule = DeficitRoundRobin()
        self._running: Table | None = None

    def run(self, stopping: Callable[[], bool]) -> None:
        """Tick until `stopping` says so; seated work is left to `drain`."""
        while not stopping():
            if not self.tick():
                self._observer.alive(0)
                self._source.wait(IDLE_WAIT_S)

    def drain(self, until: float) -> list[Work]:
        """Finish the seated work until the clock says `until`; returns what has to be handed back."""
        back = [work for table in self.tables for work in table.staged]
        for table in self.tables:
            table.staged.clear()
        while any(table.slots.held for table in self.tables) and self._clock() < until:
            self.tick(fetch=False)
        self._publish(self._collect())
        return back + [work for table in self.tables for work in table.unseat(self._clock())]

    def tick(self, fetch: bool = True) -> bool:
        """One turn of the loop; False where no segment was launched."""
        ended = self._collect()
        if revoked := self._source.revoked():
            for table in self.tables:
                if count := table.revoke(revoked, self._clock()):
                    self._observer.revoked(table.task_name, count)
        if fetch:
            self._fetch()
        chosen = self._schedule.pick([table for table in self.tables if table.busy])
        if chosen is not None:
            ended += chosen.refill(self._clock())
            running = chosen.launch(self._clock())
            if running:
                self._running = chosen
                self._source.advanced(running)
        self._publish(ended)
        return self._running is not None

    def _collect(self) -> list[Outcome]:
        table, self._running = self._running, None
        if table is None:
            return []
        readback = table.collect()
        ended, segment = table.settle(readback, self._clock())
        self._schedule.charge(table, segment.device_s)
        self._observer.segment(segment)
        self._observer.alive(sum(t.slots.held for t in self.tables))
        if self._strict:
            table.slots.check()
        return ended

    def _fetch(self) -> None:
        by_task = {table.task_name: table for table in self.tables}
        for work in self._source.poll({name: table.room() for name, table in by_task.items()}):
            by_task[work.task].staged.append(work)

    def _publish(self, ended: list[Outcome]) -> None:
        if ended:
            self._source.publish(ended)
            for outcome in ended:
                self._observer.outcome(outcome)
