"""A load generator that costs little itself: bare HTTP/1.1 over connections that stay open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


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
        writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(payload)))
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
        caller.close()

    start = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    run.seconds = time.perf_counter() - start
    return run
