"""The worker's side of the queue."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from redis.client import PubSub
from redis.exceptions import RedisError

from service.broker import problems
from service.broker.calls import Calls
from service.broker.config import BrokerConfig
from service.broker.connection import BLOCK_S, BLOCKING_TIMEOUT_S, broker_error, connect
from service.broker.keys import Keys
from service.broker.records import Claim, ControlMessage, Finished, Renewal
from service.broker.script import ANNOUNCE, FINISH, HAND_BACK, HAND_OVER, RENEW, TAKE, Argument, Command
from service.schemas import Lane

_TIMEOUT_S = 5.0


class RedisWorkerBroker:
    """Takes jobs for one worker and publishes what becomes of them; see WorkerBroker.

    Calls that change nothing when they come twice are repeated once on a broken connection. `take` is not: what it
    delivered while its reply got lost comes again when its lease has run out.
    """

    def __init__(self, config: BrokerConfig, worker_id: str) -> None:
        """Connect at the first call.

        Args:
            config: The deployment's numbers.
            worker_id: Never used before: leases and crashes are counted by it.

        Raises:
            ValueError: The URL is not one of a Redis.
        """
        self.worker_id = worker_id
        self.tally: Counter[tuple[str, str]] = Counter()
        self._config = config
        self._keys = Keys(config.namespace)
        name = f"hrm-worker-{worker_id}"
        client = connect(config.url, name=name, timeout_s=_TIMEOUT_S)
        self._blocking = connect(config.url, name=name, timeout_s=BLOCKING_TIMEOUT_S)
        self._calls = Calls(client, url=config.url, tag=self._keys.tag)
        self._waits = Calls(self._blocking, url=config.url, tag=self._keys.tag)
        self._marks: dict[str, str] = {}
        self._subscription: PubSub | None = None

    def take(self, room: Mapping[str, int], ahead: Mapping[str, int] | None = None, wait_s: float = 0.0) -> list[Claim]:
        """See WorkerBroker."""
        if not room:
            return []
        config = self._config
        arguments: list[Argument] = [self.worker_id, config.high_per_normal, problems.DEADLINE, problems.UNREADABLE]
        for task, count in room.items():
            arguments += (task, count, (ahead or {}).get(task, 0))
        if wait_s:
            claims, marks, counts = self._waits.run_after(self._wait(room, wait_s), TAKE, *arguments)
        else:
            claims, marks, counts = self._calls.run(TAKE, *arguments, repeat=False)
        self._marks.update((key.decode(), mark.decode()) for key, mark in marks)
        self._count(counts)
        return [_claim(fields) for fields in claims]

    def _wait(self, tasks: Iterable[str], wait_s: float) -> Command:
        """The command that blocks until something is enqueued."""
        keys = [key for task in tasks for key in self._keys.watched(task)]
        marks = [self._marks.get(key, "0-0") for key in keys]
        block_ms = max(1, int(min(wait_s, BLOCK_S) * 1000))
        return ("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", *keys, *marks)

    def renew(self, claims: Sequence[Claim], ahead: Collection[str] = ()) -> Renewal:
        """See WorkerBroker."""
        if not claims:
            return Renewal(lost=(), cancelled=())
        arguments: list[Argument] = []
        for claim in claims:
            arguments += (claim.id, claim.fence, int(claim.id not in ahead))
        lost, cancelled = self._calls.run(RENEW, self.worker_id, *arguments)
        return Renewal(lost=[job.decode() for job in lost], cancelled=[job.decode() for job in cancelled])

    def finish(self, endings: Sequence[Finished]) -> list[bool]:
        """See WorkerBroker."""
        if not endings:
            return []
        arguments: list[Argument] = []
        for ending in endings:
            arguments += (ending.id, ending.fence, ending.state, ending.payload)
        return [bool(verdict) for verdict in self._calls.run(FINISH, self.worker_id, *arguments)]

    def hand_back(self, claims: Sequence[Claim]) -> None:
        """See WorkerBroker."""
        arguments: list[Argument] = []
        for claim in claims:
            arguments += (claim.id, claim.fence)
        if arguments:
            self._calls.run(HAND_BACK, self.worker_id, *arguments)

    def reclaim(self, room: Mapping[str, int]) -> list[Claim]:
        """See WorkerBroker.

        After Redis was away, its holders have one lease to renew before anything is taken from them.
        """
        if self._redis_was_there():
            config = self._config
            for task, handed_over, buried, untold in self._calls.run(
                HAND_OVER,
                "",
                int(config.lease_s * 1000),
                self.worker_id,
                config.max_crashes,
                config.max_losses,
                problems.POISON,
            ):
                self._count([(task, b"handed_over", handed_over), (task, b"poison", buried + untold)])
        return self.take({task: count for task, count in room.items() if count > 0})

    def control(self, timeout_s: float) -> list[ControlMessage]:
        """See WorkerBroker."""
        try:
            if self._subscription is None:
                self._subscription = self._blocking.pubsub()
                self._subscription.subscribe(self._keys.control)
                self._subscription.get_message(timeout=_TIMEOUT_S)  # its confirmation
            messages: list[ControlMessage] = []
            until = time.monotonic() + timeout_s
            while True:
                left_s = 0.0 if messages else max(0.0, until - time.monotonic())
                raw = self._subscription.get_message(ignore_subscribe_messages=True, timeout=min(left_s, BLOCK_S))
                if raw is not None:
                    messages += _control_message(raw["data"])
                elif messages or time.monotonic() >= until:
                    return messages
        except RedisError as error:
            self._unsubscribe()
            raise broker_error(self._config.url, error) from error

    def announce(self, description: Mapping[str, object]) -> None:
        """See WorkerBroker."""
        self._calls.run(ANNOUNCE, self.worker_id, int(self._config.lease_s * 1000), json.dumps(dict(description)))

    def retire(self) -> None:
        """See WorkerBroker."""
        self._calls.run(ANNOUNCE, self.worker_id, 0, "")

    def close(self) -> None:
        """Close the connections."""
        self._unsubscribe()
        self._calls.close()
        self._waits.close()

    def _count(self, counts: Iterable[tuple[bytes, bytes, int]]) -> None:
        for task, event, times in counts:
            if times:
                self.tally[task.decode(), event.decode()] += times

    def _redis_was_there(self) -> bool:
        lease_s = self._config.lease_s
        troubled_at = max(self._calls.troubled_at, self._waits.troubled_at)
        if time.monotonic() - troubled_at < lease_s:
            return False
        # A reconnection may go unseen here, a young server does not. It tells whole seconds.
        return self._uptime_s() > lease_s

    def _uptime_s(self) -> int:
        return int(self._calls.command("INFO", "server")["uptime_in_seconds"])

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(RedisError):
                self._subscription.close()
            self._subscription = None


def _claim(fields: Sequence[Any]) -> Claim:
    job_id, task, lane, request, fence, deliveries, deadline_in_ms, waited_ms, trace_context = fields
    return Claim(
        id=job_id.decode(),
        task=task.decode(),
        lane=Lane(lane.decode()),
        request=request,
        fence=fence,
        deliveries=deliveries,
        deadline_in_s=deadline_in_ms / 1000,
        waited_s=waited_ms / 1000,
        trace_context=trace_context.decode(errors="replace"),
    )


def _control_message(data: bytes) -> list[ControlMessage]:
    """The message, or nothing where it cannot be read: what it says is in the records, too."""
    try:
        fields = json.loads(data)
        kind = fields.pop("kind")
        fields.pop("format_version")
    except (ValueError, TypeError, AttributeError, KeyError):
        return []
    return [ControlMessage(str(kind), {str(name): str(value) for name, value in fields.items()})]
