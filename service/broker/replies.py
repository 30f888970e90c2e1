"""Endings on their way to those who wait for them in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from service.broker.connection import BLOCK_S, BLOCKING_TIMEOUT_S, connect_async
from service.broker.pipeline import end_task, exchange
from service.broker.records import BrokerError, Ending, JobLostError, JobState

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_LOOK_AT_ONCE = 256
_RECONNECT_S = (0.05, 0.1, 0.2, 0.5)

Look = Callable[[Sequence[str]], Awaitable[Mapping[str, Ending | None]]]
"""Of these jobs, those that ended; None where the record is gone."""


@dataclass(slots=True)
class _Expected:
    ending: asyncio.Future[Ending | None]
    waiters: int = 0


class Replies:
    """One loop reads the stream of this process and wakes waiters; another looks at the records now and then.

    The second one finds what the first cannot tell: endings that were trimmed away or written to another process, and
    jobs whose record is gone.
    """

    def __init__(self, url: str, *, stream: str, name: str, look: Look) -> None:
        self._stream = stream
        self._look = look
        self._connection = connect_async(url, name=name, timeout_s=BLOCKING_TIMEOUT_S)
        self._expected: dict[str, _Expected] = {}
        self._look_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start both loops."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._read(), name="broker-replies"),
            loop.create_task(self._look_now_and_then(), name="broker-records"),
        ]

    async def close(self) -> None:
        """Stop both loops; whoever still waits finds its job lost."""
        for task in self._tasks:
            await end_task(task)
        for job_id in list(self._expected):
            self._tell(job_id, None)
        with contextlib.suppress(RedisError):
            await self._connection.disconnect()

    def expect(self, job_id: str) -> None:
        """Keep the job's ending from now on, for the `wait` that will follow."""
        if job_id not in self._expected:
            self._expected[job_id] = _Expected(asyncio.get_running_loop().create_future())

    def forget(self, job_id: str) -> None:
        """No `wait` will follow; those that are under way go on."""
        expected = self._expected.get(job_id)
        if expected is not None and not expected.waiters:
            del self._expected[job_id]

    async def wait(self, job_id: str, timeout_s: float) -> Ending | None:
        """The job's ending, or None after `timeout_s`.

        Raises:
            JobLostError: Its record is gone.
            BrokerError: It was not expected, and Redis could not tell how it stands.
        """
        unexpected = job_id not in self._expected
        self.expect(job_id)
        expected = self._expected[job_id]
        expected.waiters += 1
        try:
            if unexpected:
                await self._look_at([job_id])
            done, _ = await asyncio.wait([expected.ending], timeout=timeout_s)
        finally:
            expected.waiters -= 1
            self.forget(job_id)
        if not done:
            return None
        ending = expected.ending.result()
        if ending is None:
            raise JobLostError(job_id)
        return ending

    def _tell(self, job_id: str, ending: Ending | None) -> None:
        expected = self._expected.get(job_id)
        if expected is not None and not expected.ending.done():
            expected.ending.set_result(ending)

    async def _read(self) -> None:
        last, failures = b"0-0", 0
        while True:
            try:
                command = ("XREAD", "COUNT", 512, "BLOCK", int(BLOCK_S * 1000), "STREAMS", self._stream, last)
                (reply,) = await exchange(self._connection, [command])
                if isinstance(reply, RedisError):
                    raise reply
            except RedisError as error:
                if not failures:
                    log.warning("replies are held up, Redis is away: %s", error)
                await asyncio.sleep(_RECONNECT_S[min(failures, len(_RECONNECT_S) - 1)])
                failures += 1
                continue
            if failures:
                log.info("Redis is back")
                failures = 0
                self._look_now.set()
            for _, entries in reply or ():
                for last, fields in entries:  # noqa: B007 - the last one is where the next read begins
                    self._on_entry(fields)

    def _on_entry(self, fields: list[bytes]) -> None:
        reply: dict[bytes, Any] = dict(zip(fields[::2], fields[1::2], strict=True))
        try:
            job_id = reply[b"id"].decode()
            ending = Ending(job_id, JobState(reply[b"state"].decode()), reply[b"payload"])
        except (KeyError, ValueError):
            log.warning("an entry of the reply stream cannot be read; its job's record will tell")
            return
        self._tell(job_id, ending)

    async def _look_now_and_then(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._look_now.wait()
            self._look_now.clear()
            for job_id in [job_id for job_id, expected in self._expected.items() if expected.ending.done()]:
                self.forget(job_id)
            job_ids = list(self._expected)
            with contextlib.suppress(BrokerError):
                for start in range(0, len(job_ids), _LOOK_AT_ONCE):
                    await self._look_at(job_ids[start : start + _LOOK_AT_ONCE])

    async def _look_at(self, job_ids: Sequence[str]) -> None:
        for job_id, ending in (await self._look(job_ids)).items():
            self._tell(job_id, ending)
