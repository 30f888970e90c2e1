"""Solve puzzles in this process, without a queue: what `hrm solve` does where it is given no URL."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from model.checkpoint import CheckpointInfo
from model.tasks import PuzzleError
from service.engine.codec import bad_puzzle, decode, encode
from service.engine.load import Loader
from service.engine.loop import Engine
from service.engine.table import Segment, Table
from service.engine.work import Key, Outcome, Room, Work
from service.registry import registry_of
from service.schemas import Answer, Problem, SolveRequest
from service.settings import Settings


class UnknownTaskError(LookupError):
    """No checkpoint serves the task; the message lists those that are there."""


def solve_stream(
    settings: Settings, task: str, requests: Iterable[SolveRequest]
) -> Iterator[tuple[int, Answer | Problem]]:
    """Answer requests as they halt: (index of the request, answer or problem), in the order of completion.

    Requests are read as slots become free, so that a stream of any length needs little memory.

    Raises:
        UnknownTaskError: no checkpoint serves `task`.
        CheckpointError: its checkpoint cannot be served.
        DeviceError: the device is not there.
    """
    here: dict[str, object] = {"batch_wait_ms": 0.0}  # whatever there is, is at hand
    if settings.compile == "auto":
        here["compile"] = "off"  # it takes longer than most files of puzzles; `--compile on` is for the others
    settings = settings.model_copy(update=here)
    registry = registry_of(settings)
    info = registry.current(task)
    if info is None:
        raise UnknownTaskError(f"no checkpoint for task {task!r}; there are: {', '.join(registry.tasks()) or 'none'}")
    table = Loader(settings).load(info)
    source = _IterableSource(table.info, requests)
    engine = Engine(source, _Unobserved(), time.monotonic, strict=False)
    engine.install(table)
    while engine.tick() or source.waiting:
        yield from source.finished()
    yield from source.finished()


class _IterableSource:
    """Feeds the engine from an iterator and collects its answers."""

    def __init__(self, info: CheckpointInfo, requests: Iterable[SolveRequest]) -> None:
        self._info = info
        self._requests = enumerate(requests)
        self._done: deque[tuple[int, Answer | Problem]] = deque()
        self.waiting = True

    def poll(self, room: Mapping[str, Room]) -> list[Work]:
        works: list[Work] = []
        while self.waiting and len(works) < room[self._info.task].wanted:
            index, request = next(self._requests, (-1, None))
            if request is None:
                self.waiting = False
                break
            try:
                now = time.monotonic()
                works.append(encode(request, self._info, work_id=str(index), arrived=now, ticket=index))
            except PuzzleError as error:
                self._done.append((index, bad_puzzle(error)))
        return works

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        indices = [outcome.work.ticket for outcome in outcomes]
        self._done.extend(zip(indices, decode(outcomes), strict=True))

    def finished(self) -> Iterator[tuple[int, Answer | Problem]]:
        while self._done:
            yield self._done.popleft()

    def revoked(self) -> Collection[Key]:
        return ()

    def leased(self) -> None:
        pass

    def advanced(self, running: Sequence[Work], waiting: Sequence[Work]) -> None:
        pass

    def wait(self, timeout_s: float) -> None:
        pass


class _Unobserved:
    def segment(self, segment: Segment) -> None: ...

    def retired(self, table: Table) -> None: ...

    def alive(self, live: int) -> None: ...

    def violation(self, what: str) -> None: ...
