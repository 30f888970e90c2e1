"""A load generator that costs little itself: bare HTTP/1.1 over connections that stay open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

_HEAD = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Caller:
    """One connection to one server."""

    def __init__(self, url: str) -> None:
        self._host, port = url.removeprefix("http://").split(":")
        self._port = int(port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: Mapping[str, object]) -> Response:
        """One request and its answer; the time runs from the first byte sent to the last one read."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        payload = json.dumps(body).encode()
        start = time.perf_counter()
        writer.write(_HEAD % (path.encode(), len(payload)))
        writer.write(payload)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        content = await reader.readexactly(int(headers["content-length"]))
        return Response(int(lines[0].split()[1]), headers, content, time.perf_counter() - start)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


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
        run.responses.append(replace(response, seconds=time.perf_counter() - begin - arrivals[number]))
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
