"""Children kept alive, and ended in order. Knows nothing of what they do."""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.lifeline import lifeline

log = logging.getLogger(__name__)

EXIT_BAD_SETTINGS = 2
"""A child that ends so before it was ever healthy is not started again: its own message says what to mend."""


class ChildFailedError(Exception):
    """A child cannot be kept alive; `exit_code` is what the supervisor should end with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Patience:
    """When to start a child again, and when to give up."""

    first_pause_s: float = 0.2
    longest_pause_s: float = 5.0
    healthy_s: float = 10.0
    """A life at least this long is a healthy one: the count of failures and the pause start afresh."""
    short_lives: int = 8
    """So many short lives in a row, and the child cannot be kept alive (by default within about a minute)."""

    def pause(self, failures: int) -> float:
        """Seconds to wait after the given number of short lives in a row."""
        return min(self.longest_pause_s, self.first_pause_s * 2.0 ** max(0, failures - 1))


class Process(Protocol):
    """What is alive in one life of a child; `asyncio.subprocess.Process` is one."""

    @property
    def returncode(self) -> int | None:
        """How it ended, as `subprocess` says it; None while it lives."""
        ...

    async def wait(self) -> int:
        """Its return code, when it has ended."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


@dataclass(frozen=True, slots=True)
class Role:
    """What a child is: how one life of it starts, and how it ends.

    Args:
        name: For messages.
        launch: Starts its n-th life, counted from 1.
        grace_s: Seconds from SIGTERM to SIGKILL.
        after_death: Called with the number of the life that ended without having been asked to.
    """

    name: str
    launch: Callable[[int], Awaitable[Process]]
    grace_s: float = 10.0
    after_death: Callable[[int], Awaitable[None]] | None = None


async def launch(command: Sequence[str], environment: Mapping[str, str]) -> Process:
    """Start a command that dies with us; `environment` is all it gets, beside its lifeline."""
    return await asyncio.create_subprocess_exec(
        *command,
        env={**environment, **lifeline()},
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the supervisor, which passes it on in order
    )


@dataclass(slots=True)
class Child:
    """One role, life after life."""

    role: Role
    patience: Patience
    _process: Process | None = None
    _run: asyncio.Task[None] | None = None
    _stopping: bool = False
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> asyncio.Task[None]:
        """Keep it alive until `stop`; the task raises ChildFailedError where that is in vain."""
        self._run = asyncio.create_task(self._keep_alive())
        return self._run

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when its grace is over or somebody hurries."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            if self._run:
                self._run.cancel()  # between two lives
            return
        process.terminate()
        waits = [asyncio.create_task(process.wait()), asyncio.create_task(self._hurry.wait())]
        await asyncio.wait(waits, timeout=self.role.grace_s, return_when=asyncio.FIRST_COMPLETED)
        if process.returncode is None:
            log.warning("the %s has not ended in time: killing it", self.role.name)
            process.kill()
        await process.wait()
        waits[1].cancel()

    def hurry(self) -> None:
        """Shorten its grace to nothing."""
        self._hurry.set()

    async def _keep_alive(self) -> None:
        failures, ever_healthy = 0, False
        for life in itertools.count(1):
            started = time.monotonic()
            code = await self._live(life)
            if self._stopping:
                return
            healthy = time.monotonic() - started >= self.patience.healthy_s
            if self.role.after_death:
                await self.role.after_death(life)
            if code == EXIT_BAD_SETTINGS and not ever_healthy:
                raise ChildFailedError(f"the {self.role.name} refused to start", EXIT_BAD_SETTINGS)
            ever_healthy |= healthy
            failures = 0 if healthy else failures + 1
            if failures >= self.patience.short_lives:
                raise ChildFailedError(
                    f"the {self.role.name} cannot be kept alive: it ended {failures} times in a row within "
                    f"{self.patience.healthy_s:g} s of its start, at last with {describe_exit(code)}",
                    1,
                )
            pause = self.patience.pause(failures)
            log.warning("the %s ended with %s; starting it again in %.1f s", self.role.name, describe_exit(code), pause)
            await asyncio.sleep(pause)

    async def _live(self, life: int) -> int:
        try:
            self._process = await self.role.launch(life)
        except OSError as error:  # no memory, no process to be had: that may pass
            log.error("the %s cannot be started: %s", self.role.name, error)
            return 1
        return await self._process.wait()


async def supervise(groups: Sequence[Sequence[Role]], patience: Patience | None = None) -> None:
    """Run all roles until SIGTERM or SIGINT, then end them group by group, in the order given.

    Within a group all are asked to end, one right after the other, before any is waited for. A second signal ends
    everything at once. Raises ChildFailedError, after all were ended, where a role cannot be kept alive.
    """
    family = [[Child(role, patience or Patience()) for role in group] for group in groups]
    children = [child for group in family for child in group]
    asked = asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            for child in children:
                child.hurry()
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    runs = [child.start() for child in children]
    ended = asyncio.create_task(asked.wait())
    await asyncio.wait([*runs, ended], return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    for group in family:
        await asyncio.gather(*(child.stop() for child in group))
    for result in await asyncio.gather(*runs, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


def describe_exit(code: int) -> str:
    """An exit status as `subprocess` gives it, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
