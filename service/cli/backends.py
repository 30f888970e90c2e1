"""Where `hrm solve` gets its answers: from the engine in this process, or from a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from model.checkpoint import CheckpointError
from model.registry import SHIPPED, Registry
from model.tasks import Task, get_task, task_names
from service.cli.flags import CommandError, worker_extra
from service.client import BusyError, Client, ServiceError
from service.schemas import Answer, SolveRequest
from service.settings import Settings

Reply = Answer | str
"""An answer, or what went wrong with this one puzzle."""


@dataclass(frozen=True, slots=True)
class Backend:
    """`solve` yields (index of the request, reply) in any order; it raises CommandError where all is in vain."""

    solve: Callable[[Sequence[SolveRequest]], Iterator[tuple[int, Reply]]]
    codec: Task | None


def local(settings: Settings, task: str | None) -> Backend:
    """The engine in this process; raises CommandError where no checkpoint serves the task."""
    registry = Registry([settings.checkpoints, SHIPPED])
    known = registry.tasks()
    name = task or settings.default_task or (known[0] if len(known) == 1 else None)
    if name is None:
        raise CommandError(f"--task is needed; there are: {', '.join(known) or 'no checkpoints'}")
    try:
        info = registry.current(name)
    except CheckpointError as error:
        raise CommandError(str(error)) from None
    if info is None:
        raise CommandError(f"no checkpoint for task {name!r}; there are: {', '.join(known) or 'none'}")

    def solve(requests: Sequence[SolveRequest]) -> Iterator[tuple[int, Reply]]:
        with worker_extra():
            from model.device import DeviceError  # noqa: PLC0415 (torch, not before it is needed)
            from service.engine.local import solve_stream  # noqa: PLC0415

        try:
            for index, outcome in solve_stream(settings, name, requests):
                yield index, outcome if isinstance(outcome, Answer) else outcome.detail
        except (CheckpointError, DeviceError) as error:
            raise CommandError(str(error)) from None

    return Backend(solve, info.codec)


def remote(url: str, api_key: str | None, task: str | None) -> Backend:
    """A server."""

    def solve(requests: Sequence[SolveRequest]) -> Iterator[tuple[int, Reply]]:
        with Client(url, api_key=api_key) as client, closing(client.solve_many(requests)) as outcomes:
            for index, outcome in enumerate(outcomes):
                yield index, outcome if isinstance(outcome, Answer) else _told(outcome)

    return Backend(solve, get_task(task) if task in task_names() else None)


def _told(error: ServiceError) -> str:
    """What went wrong with one puzzle; raises CommandError where the next ones would meet the same."""
    if isinstance(error, BusyError):
        raise CommandError(error.detail, exit_code=1)
    if error.status in (401, 403, 404):
        raise CommandError(error.detail)
    return error.detail
