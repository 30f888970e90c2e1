"""A load generator that costs little itself: bare HTTP/1.1 over connections that stay open, on uvloop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

_HEAD = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_END = b"\r\n\r\n"


def drive(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, on the loop that takes the least of the machine."""
    return uvloop.run(main)


@dataclass(frozen=True, slots=True)
class Response:
    head: bytes
    body: bytes
    seconds: float

    @property
    def status(self) -> int:
        return int(self.head.split(maxsplit=2)[1])

    @property
    def headers(self) -> Mapping[str, str]:
        """By their names in lower case."""
        lines = self.head.decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


class Caller(asyncio.Protocol):
    """One connection to one server, and one request at a time on it."""

    def __init__(self, url: str) -> None:
        self._host, port = url.removeprefix("http://").split(":")
        self._port = int(port)
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[bytes, bytes]]

    async def post(self, path: str, body: Mapping[str, object]) -> Response:
        """One request and its answer; the time runs from the first byte sent to the last one read."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        if self._transport is None:
            self._transport, _ = await loop.create_connection(lambda: self, self._host, self._port)
        payload = json.dumps(body).encode()
        start = time.perf_counter()
        self._transport.write(_HEAD % (path.encode(), len(payload)) + payload)
        head, content = await self._answer
        return Response(head, content, time.perf_counter() - start)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        head, end, rest = self._received.partition(_END)
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) >= length:
            self._received = rest[length:]
            self._answer.set_result((bytes(head), bytes(rest[:length])))

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server hung up"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@dataclass(slots=True)
class Run:
    """What a closed loop met."""

    seconds: float = 0.0
    responses: list[Response] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """Which request each of them answers."""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The answers in the order of the requests; ends the process where one is none."""
        if wrong := {response.status for response in self.responses} - {200}:
            raise SystemExit(f"the run met {wrong}")
        answers = sorted(zip(self.numbers, self.responses, strict=True), key=lambda pair: pair[0])
        return [json.loads(response.body) for _, response in answers]

    @property
    def per_s(self) -> float:
        return len(self.responses) / self.seconds


async def closed_loop(url: str, make_body: Callable[[int], Mapping[str, object]], callers: int, requests: int) -> Run:
    """`callers` connections that each ask again as soon as they are answered, `requests` in all."""
    run, numbers = Run(), iter(range(requests))

    async def call() -> None:
        caller = Caller(url)
        for number in numbers:
            run.responses.append(await caller.post("/solve", make_body(number)))
            run.numbers.append(number)
        caller.close()

    start = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    run.seconds = time.perf_counter() - start
    return run


async def open_loop(url: str, bodies: Sequence[Mapping[str, object]], arrivals: Sequence[float]) -> Run:
    """Ask at given seconds from now, however long the answers take; `seconds` of a response run from its arrival."""
    run, idle = Run(), [Caller(url)]
    begin = time.perf_counter()

    async def call(number: int) -> None:
        caller = idle.pop() if idle else Caller(url)
        response = await caller.post("/solve", bodies[number])
        since_arrival = time.perf_counter() - begin - arrivals[number]
        # The loop's timers round to milliseconds, and some requests leave before their time.
        run.responses.append(replace(response, seconds=max(response.seconds, since_arrival)))
        run.numbers.append(number)
        idle.append(caller)

    async with asyncio.TaskGroup() as calls:
        for number, arrival in enumerate(arrivals):
            await asyncio.sleep(max(0.0, begin + arrival - time.perf_counter()))
            calls.create_task(call(number))
    run.seconds = time.perf_counter() - begin
    for caller in idle:
        caller.close()
    return run
