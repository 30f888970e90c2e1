"""The engine's loop: collect, free, refill, launch the next segment, and only then publish.

Free of torch, of the clock and of Redis: runners, clock and source are handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from model.tasks import PuzzleError
from service.engine.codec import adapt, bad_puzzle
from service.engine.schedule import DeficitRoundRobin
from service.engine.slots import InvariantError
from service.engine.table import Segment, Table, refused
from service.engine.work import Outcome, Source, Work

IDLE_WAIT_S = 0.5
"""How long an idle engine waits for work before it looks after itself again."""
CHECK_EVERY_S = 1.0
"""How often an engine that is not strict checks itself."""


class Observer(Protocol):
    """Is told what happens, for metrics and probes."""

    def segment(self, segment: Segment) -> None:
        """One table ran one segment."""
        ...

    def retired(self, table: Table) -> None:
        """The last puzzle left a table that admits nothing any more."""
        ...

    def alive(self, live: int) -> None:
        """The loop went round, with so many live slots."""
        ...

    def violation(self, what: str) -> None:
        """The engine contradicts itself or its source."""
        ...


class Engine:
    """Runs the tables of one device until it is told to stop.

    Every task has one table that admits. When another checkpoint is installed, admissions flip to its table and
    the old one finishes what it holds, so that no puzzle ever sees two. A tick belongs to one table; with several
    the device's time is shared by deficit round robin.

    The engine checks itself: free and held slots make all slots, and it holds what its source has leases for. Where
    `strict`, it does so every tick and raises InvariantError; otherwise now and then, and tells its observer.
    """

    def __init__(self, source: Source, observer: Observer, clock: Callable[[], float], strict: bool) -> None:
        self._source, self._observer, self._clock, self._strict = source, observer, clock, strict
        self._admitting: dict[str, Table] = {}
        self._retiring: list[Table] = []
        self._changes: deque[tuple[str, Table | None]] = deque()
        self._schedule = DeficitRoundRobin()
        self._running: Table | None = None
        self._next_check = 0.0

    @property
    def tables(self) -> list[Table]:
        """All tables that may hold work."""
        return [*self._admitting.values(), *self._retiring]

    def held(self, task: str) -> int:
        """How many slots hold puzzles of a task."""
        return sum(table.slots.held for table in self.tables if table.task == task)

    def install(self, table: Table) -> None:
        """From the next tick on, new puzzles of the table's task go to it. May be called from any thread."""
        self._changes.append((table.task, table))

    def withdraw(self, task: str) -> None:
        """From the next tick on, nothing of a task is admitted. May be called from any thread."""
        self._changes.append((task, None))

    def settled(self, task: str) -> bool:
        """Whether no change of a task is under way and no earlier checkpoint of it still holds puzzles."""
        changing = {changed for changed, _ in self._changes.copy()}
        return task not in changing and all(table.task != task for table in self._retiring)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Tick until `stopping` says so; seated work is left to `drain`."""
        while not stopping():
            if not self.tick():
                now = self._clock()
                waits = [wait for table in self.tables if (wait := table.patience(now))]
                self._source.wait(min([IDLE_WAIT_S, *waits]))

    def unstage(self) -> list[Work]:
        """Give up what waits for a slot."""
        return [work for table in self.tables for work in table.unstage()]

    def drain(self, until: float) -> list[Work]:
        """Finish the seated work until the clock says `until`; gives up what then still sits.

        To be called with nothing staged, when `run` has returned.
        """
        while any(table.busy for table in self.tables) and self._clock() < until:
            self.tick(fetch=False)
        self._publish(self._collect())
        return [work for table in self.tables for work in table.unseat(self._clock())]

    def tick(self, fetch: bool = True) -> bool:
        """One turn of the loop; False where no table had anything to do."""
        ended = self._collect()
        self._revoke()
        self._change()
        if fetch:
            ended += self._fetch()
        now = self._clock()
        chosen = self._schedule.pick([table for table in self.tables if table.busy and not table.patience(now)])
        if chosen is not None:
            ended += chosen.refill(self._clock())
            running = chosen.launch(self._clock())
            if running:
                self._running = chosen
                self._source.advanced(running, chosen.between_attempts())
        self._publish(ended)
        self._observer.alive(sum(table.slots.held for table in self.tables))
        self._check()
        return chosen is not None

    def _collect(self) -> list[Outcome]:
        table, self._running = self._running, None
        if table is None:
            return []
        readback = table.collect()
        ended, segment = table.settle(readback, self._clock())
        self._schedule.charge(table, segment.device_s)
        self._observer.segment(segment)
        return ended

    def _revoke(self) -> None:
        if revoked := self._source.revoked():
            for table in self.tables:
                table.revoke(revoked, self._clock())

    def _change(self) -> None:
        while self._changes:
            self._flip(*self._changes[0])
            self._changes.popleft()
        for table in [table for table in self._retiring if not table.busy]:
            self._observer.retired(table)
            self._retiring.remove(table)

    def _flip(self, task: str, table: Table | None) -> None:
        old = self._admitting.pop(task, None)
        if old is not None:
            self._retiring.append(old)
        if table is not None:
            self._admitting[task] = table

    def _fetch(self) -> list[Outcome]:
        """Stage what the source has; what was read for an earlier checkpoint is read again for the current one."""
        unfit: list[Outcome] = []
        for work in self._source.poll({task: table.room() for task, table in self._admitting.items()}):
            table = self._admitting[work.task]
            try:
                table.staged.append(adapt(work, table.info))
            except PuzzleError as error:
                unfit.append(refused(work, table.info.name, bad_puzzle(error)))
        return unfit

    def _publish(self, ended: list[Outcome]) -> None:
        if ended:
            self._source.publish(ended)

    def _check(self) -> None:
        now = self._clock()
        if not self._strict and now < self._next_check:
            return
        self._next_check = now + CHECK_EVERY_S
        try:
            for table in self.tables:
                table.slots.check()
            self._check_leases()
        except InvariantError as error:
            if self._strict:
                raise
            self._observer.violation(str(error))

    def _check_leases(self) -> None:
        leased = self._source.leased()
        if leased is None:
            return
        held = {work.key for table in self.tables for work in table.works()}
        if held != set(leased):
            without = len(held - set(leased))
            raise InvariantError(f"{without} of {len(held)} held puzzles without a lease, {len(leased)} leases")
