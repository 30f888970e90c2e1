"""What people and the supervisor do with the queue: dead letters, and the entries of a dead worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from service.broker import problems
from service.broker.calls import Calls
from service.broker.config import BrokerConfig
from service.broker.connection import connect
from service.broker.front import worker_records
from service.broker.keys import Keys
from service.broker.records import DeadLetter, WorkerRecord
from service.broker.script import HAND_OVER, REQUEUE, WORKERS

_TIMEOUT_S = 5.0


class Requeue(StrEnum):
    """What became of a dead letter."""

    REQUEUED = "requeued"
    GONE = "gone"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Server:
    """The server behind the queue."""

    name: str
    version: tuple[int, ...]
    append_only: bool
    policy: str
    """What it does when its memory is full."""

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))}"


class QueueAdmin:
    """Blocking; every method may raise BrokerError."""

    def __init__(self, config: BrokerConfig) -> None:
        """Connect at the first call.

        Raises:
            ValueError: The URL is not one of a Redis.
        """
        self._config = config
        self._keys = Keys(config.namespace)
        client = connect(config.url, name="hrm-admin", timeout_s=_TIMEOUT_S)
        self._calls = Calls(client, url=config.url, tag=self._keys.tag)

    def ping(self) -> None:
        """Knock at Redis."""
        self._calls.command("PING")

    def server(self) -> Server:
        """What Redis says of itself."""
        info: dict[str, Any] = self._calls.command("INFO")
        valkey = info.get("valkey_version")
        version = str(valkey or info.get("redis_version", "0"))
        return Server(
            name="Valkey" if valkey else "Redis",
            version=tuple(int(part) for part in version.split(".") if part.isdigit()),
            append_only=bool(info.get("aof_enabled")),
            policy=str(info.get("maxmemory_policy")),
        )

    def tasks(self) -> list[str]:
        """All tasks that ever had a job, sorted."""
        return sorted(task.decode() for task in self._calls.command("SMEMBERS", self._keys.tasks))

    def workers(self) -> list[WorkerRecord]:
        """Who is alive."""
        return worker_records(self._calls.run(WORKERS))

    def dead_letters(self, task: str) -> Iterator[DeadLetter]:
        """The task's dead letters, oldest first."""
        start = "-"
        while page := self._calls.command("XRANGE", self._keys.dead(task), start, "+", "COUNT", 100):
            for entry, fields in page:
                yield _dead_letter(task, entry.decode(), fields)
                start = "(" + entry.decode()

    def requeue(self, letter: DeadLetter) -> Requeue:
        """Give it another life, with its own time again and no crashes held against it."""
        return Requeue(self._calls.run(REQUEUE, letter.task, letter.entry, self._config.queue_limit).decode())

    def hand_over(self, worker_id: str) -> tuple[int, int]:
        """The worker is dead: what it held goes to others at once, without waiting for its leases.

        Returns:
            How many jobs go to others, and how many are given up because of this last crash.
        """
        config = self._config
        counts = self._calls.run(HAND_OVER, worker_id, 0, "", config.max_crashes, config.max_losses, problems.POISON)
        return sum(handed_over for _, handed_over, _, _ in counts), sum(buried for _, _, buried, _ in counts)

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()


def _dead_letter(task: str, entry: str, fields: dict[bytes, bytes]) -> DeadLetter:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    return DeadLetter(
        entry=entry,
        id=text(b"id"),
        task=task,
        reason=text(b"reason"),
        owner=text(b"owner"),
        died_s=int(entry.partition("-")[0]) / 1000,
    )
