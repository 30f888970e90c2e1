"""Ten thousand requests, a third of them broken or hung up on: the good ones are answered, the service stays up."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.cluster import Cluster, total, until
from service.broker.config import BrokerConfig
from tests.conftest import PUZZLE
from tests.service.broker.broker_lab import Desk

REQUESTS, CALLERS, SEED = 10_000, 100, 20261124
GOOD = json.dumps({"task": "sudoku", "puzzle": PUZZLE})


@pytest.fixture
def cluster(tmp_path: Path, tiny_registry: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, tiny_registry, body_timeout_s=1, api_keys="") as cluster:
        cluster.api()
        cluster.stub_worker()
        cluster.until_ready(api=1, worker=1)
        yield cluster


def post(body: str | bytes, path: str = "/solve", length: int | None = None, more: str = "") -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    declared = len(raw) if length is None else length
    return f"POST {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {declared}\r\n{more}\r\n".encode() + raw


def solve(**fields: object) -> bytes:
    return post(json.dumps({"task": "sudoku", "puzzle": PUZZLE, **fields}))


BROKEN: dict[str, Callable[[random.Random], bytes]] = {
    "not JSON": lambda rng: post(GOOD[: rng.randrange(1, len(GOOD))]),
    "not text": lambda rng: post(rng.randbytes(100)),
    "deeply nested": lambda rng: post('{"puzzle": ' + "[" * 5000),
    "not an object": lambda rng: post(rng.choice(["[]", "null", "1e999", '"x"', "NaN"])),
    "a bad puzzle": lambda rng: solve(puzzle=PUZZLE[: rng.randrange(81)]),
    "a grid of nonsense": lambda rng: solve(puzzle=[[rng.choice([None, "x", 10**30, -1, 2.5])] * 9] * 9),
    "an unknown task": lambda rng: solve(task="".join(rng.choices("/{}:* \x00é", k=8))),
    "bad options": lambda rng: solve(
        **{rng.choice(["max_segments", "timeout_s", "mode", "x"]): rng.choice([-1, [], "é"])}
    ),
    "an unknown route": lambda rng: post(GOOD, path=rng.choice(["/", "/solve/x", "/../etc", "/jobs/x/y", "//"])),
    "an unknown job": lambda rng: b"GET /jobs/%s HTTP/1.0\r\nHost: x\r\n\r\n" % rng.randbytes(8).hex().encode(),
    "another method": lambda rng: b"BREW /solve HTTP/1.0\r\nHost: x\r\n\r\n",
    "a body longer than it says": lambda rng: post(GOOD, length=rng.randrange(len(GOOD))),
    "no HTTP": lambda rng: rng.randbytes(200) + b"\r\n\r\n",
    "a length that is none": lambda rng: post(GOOD).replace(b"Content-Length: ", b"Content-Length: x"),
    "a broken chunk": lambda rng: (
        post("zz\r\nnot a chunk", more="Transfer-Encoding: chunked\r\n")
        .replace(b"Content-Length", b"X")
        .replace(b"HTTP/1.0", b"HTTP/1.1")
    ),
    "a bad idempotency key": lambda rng: post(GOOD, more="Idempotency-Key: " + "k" * 300 + "\r\n"),
}
"""Each gets an answer that says that the client is wrong, or none at all."""

RUDE: dict[str, Callable[[random.Random], bytes]] = {
    "hangs up in its header": lambda rng: post(GOOD)[: rng.randrange(60)],
    "hangs up in its body": lambda rng: post(GOOD)[: -rng.randrange(1, 50)],
    "hangs up before the answer": lambda rng: post(GOOD),
    "hangs up on a batch": lambda rng: post(json.dumps({"task": "sudoku", "puzzles": [PUZZLE] * 5}), "/solve/batch"),
}


async def ask(url: str, request: bytes, *, hang_up: bool = False) -> int | None:
    """The status of the answer; None where there was none."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        if hang_up:
            await writer.drain()
            return None
        async with asyncio.timeout(60):
            head = (await reader.read()).split(maxsplit=2)
        return int(head[1]) if len(head) > 1 else None
    except ConnectionError:
        return None
    finally:
        writer.close()


@pytest.mark.slow
async def test_a_third_of_ten_thousand_requests_is_broken(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    good: list[int | None] = []
    broken: dict[str, set[int | None]] = {name: set() for name in BROKEN}
    left = iter(range(REQUESTS))

    async def caller() -> None:
        for _ in left:
            draw = rng.random()
            if draw < 2 / 3:
                good.append(await ask(cluster.url, post(GOOD)))
            elif draw < 5 / 6:
                name = rng.choice(list(BROKEN))
                broken[name].add(await ask(cluster.url, BROKEN[name](rng)))
            else:
                await ask(cluster.url, RUDE[rng.choice(list(RUDE))](rng), hang_up=True)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    print(broken)
    assert set(good) == {200}
    assert len(good) > REQUESTS * 0.6
    for name, statuses in broken.items():
        assert statuses, name
        assert all(status is None or 400 <= status < 500 for status in statuses), (name, statuses)

    api, worker = cluster.nodes
    assert httpx.get(f"{cluster.url}/livez").status_code == 200
    assert await ask(cluster.url, post(GOOD)) == 200
    desk = Desk(BrokerConfig(cluster.queue.url))
    until(desk.is_empty)
    until(lambda: worker.metric("hrm_slots_occupied") == 0)
    for code in ("500", "503", "504"):
        assert total(cluster.url, "hrm_http_requests_total", code=code) == 0
    for node in (api, worker):
        assert "Traceback" not in node.log, node.log[-3000:]
        assert node.process.memory_info().rss < 150e6
    desk.close()
