"""Where `hrm solve` gets its answers: from the engine in this process, or from a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

import httpx

from model.checkpoint import CheckpointError
from model.tasks import Task, task_from
from service.cli.flags import CommandError, flag, worker_extra
from service.client import BusyError, Client, ServiceError
from service.registry import registry_of
from service.schemas import Answer, SolveRequest, TaskInfo
from service.settings import Settings, SettingsError

Reply = Answer | str
"""An answer, or what went wrong with this one puzzle."""

_KNOCK_S = 3.0
"""How long to wait for a server's first word."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Somebody who solves.

    Attributes:
        codecs: How to read answers, by task.
        solve: Yields (index of the request, reply) in any order; raises CommandError where all is in vain.
    """

    codecs: Mapping[str, Task]
    solve: Callable[[Sequence[SolveRequest]], Iterator[tuple[int, Reply]]]


def local(settings: Settings, task: str | None) -> Backend:
    """The engine in this process; raises CommandError where no checkpoint serves the task."""
    try:
        registry = registry_of(settings)
    except SettingsError as error:
        raise CommandError(str(error)) from None
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

        ours = (request.model_copy(update={"task": name}) for request in requests)
        try:
            for index, outcome in solve_stream(settings, name, ours):
                yield index, outcome if isinstance(outcome, Answer) else outcome.detail
        except (CheckpointError, DeviceError) as error:
            raise CommandError(str(error)) from None

    return Backend({name: info.codec}, solve)


def remote(url: str, api_key: str | None, task: str | None) -> Backend:
    """A server; raises CommandError where it does not answer or does not know the task."""
    _check_url(url)
    try:
        with Client(url, api_key=api_key, patience_s=_KNOCK_S) as client:
            known = {info.task: info for info in client.tasks()}
    except ServiceError as error:
        raise _command_error(error) from None
    if task is not None and task not in known:
        raise CommandError(f"no task {task!r} on {url}; there are: {', '.join(known) or 'none'}")
    only = next(iter(known)) if len(known) == 1 else None

    def solve(requests: Sequence[SolveRequest]) -> Iterator[tuple[int, Reply]]:
        named = (request.model_copy(update={"task": request.task or only}) for request in requests)
        with Client(url, api_key=api_key) as client, closing(client.solve_many(named)) as outcomes:
            for index, outcome in enumerate(outcomes):
                if isinstance(outcome, Answer):
                    yield index, outcome
                elif isinstance(outcome, BusyError) or outcome.status in (401, 403):
                    raise _command_error(outcome)  # the next ones would meet the same
                else:
                    yield index, outcome.detail

    return Backend(_codecs(known.values()), solve)


def _check_url(url: str) -> None:
    try:
        parts = httpx.URL(url)
        good = parts.scheme in ("http", "https") and bool(parts.host) and (parts.port is None or parts.port < 1 << 16)
    except (httpx.InvalidURL, ValueError):  # the latter of a host that is no name
        good = False
    if not good:
        raise CommandError(f"{flag('url')}: must be like http://host:8000, not {url!r}")


def _command_error(error: ServiceError) -> CommandError:
    return CommandError(error.detail, exit_code=1 if isinstance(error, BusyError) else 2)


def _codecs(infos: Iterable[TaskInfo]) -> dict[str, Task]:
    """Those that this version knows how to read."""
    codecs = {}
    for info in infos:
        with suppress(ValueError):
            codecs[info.task] = task_from(info.description)
    return codecs
