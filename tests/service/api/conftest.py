"""The API over real sockets and a real Valkey; the worker behind it is scripted."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
import uvicorn

from model.checkpoint import Canary, write_checkpoint
from model.config import HRMConfig
from model.registry import Registry
from model.tasks import get_task
from service.api.app import create_app
from service.api.context import Context
from service.api.protocol import HttpProtocol
from service.broker.config import BrokerConfig
from service.broker.front import RedisFrontBroker
from service.settings import Settings
from tests.service.api.scripted import ScriptedWorker


@dataclass
class Api:
    """One API process' application, served on a port by this test's event loop."""

    url: str
    http: httpx.AsyncClient
    context: Context
    broker: RedisFrontBroker
    config: BrokerConfig

    async def solve(self, **body: Any) -> httpx.Response:
        return await self.http.post("/solve", json={"task": "sudoku", **body})

    async def waiting(self) -> int:
        """How many puzzles wait in the queue."""
        return sum(depth.waiting for depth in await self.broker.depths(["sudoku", "arc"]))

    async def until_waiting(self, count: int) -> None:
        async with asyncio.timeout(10):
            while await self.waiting() != count:
                await asyncio.sleep(0.005)


class ServeApi(Protocol):
    """Starts an Api with these settings."""

    async def __call__(self, **settings: Any) -> Api: ...


@pytest.fixture(scope="session")
def registry_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sudoku, and an ARC that knows two identifiers; their weights are no weights, which the API never reads."""
    root = tmp_path_factory.mktemp("registry")
    publish(root, "sudoku", "1")
    publish(root, "arc", "1", identifiers={"007bbfb7": 1, "00d62c1b": 2})
    return root


def publish(root: Path, task: str, version: str, identifiers: dict[str, int] | None = None) -> None:
    codec = get_task(task)
    puzzle, solution = codec.examples()[0]
    write_checkpoint(
        root / task / version,
        task=codec.describe(),
        architecture=HRMConfig(vocab_size=codec.vocab_size, seq_len=codec.seq_len, halt_max_segments=16),
        weights=b"never read",
        canaries=[Canary(puzzle, solution)],
        canary_accuracy=1.0,
        training={},
        identifiers=identifiers,
    )
    Registry([root]).use(task, version)


@pytest.fixture
async def serve_api(redis_url: str, registry_path: Path) -> AsyncIterator[ServeApi]:
    """Starts APIs that share this test's queue, and ends them."""
    running = []

    async def serve(**changes: Any) -> Api:
        opened = api_server(Settings(redis_url=redis_url, **changes), registry_path)
        api = await opened.__aenter__()
        running.append(opened)
        return api

    yield serve
    for opened in running:
        await opened.__aexit__(None, None, None)


@pytest.fixture
async def api(serve_api: ServeApi) -> Api:
    """An API with default settings."""
    return await serve_api()


@pytest.fixture
async def unconnected(registry_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An API without a queue or a socket, for what is answered before the queue is asked."""
    broker = RedisFrontBroker(BrokerConfig("unix:///nowhere"), "unconnected")
    app = create_app(Settings(), broker, Registry([registry_path]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        yield http


@pytest.fixture
def make_worker(redis_url: str) -> Iterator[Callable[..., ScriptedWorker]]:
    """Makes scripted workers on this test's queue, and ends them."""
    workers = []

    def make(worker_id: str = "scripted") -> ScriptedWorker:
        workers.append(ScriptedWorker(BrokerConfig(redis_url), ["sudoku", "arc"], worker_id))
        return workers[-1]

    yield make
    for worker in workers:
        worker.stop()


@pytest.fixture
def worker(make_worker: Callable[..., ScriptedWorker]) -> ScriptedWorker:
    """A scripted worker that is at work."""
    worker = make_worker()
    worker.start()
    return worker


@asynccontextmanager
async def api_server(settings: Settings, registry_path: Path) -> AsyncIterator[Api]:
    config = BrokerConfig(
        settings.redis_url.get_secret_value() if settings.redis_url else "",
        settings.namespace,
        queue_limit=settings.queue_limit,
    )
    broker = RedisFrontBroker(config, uuid.uuid4().hex)
    app = create_app(settings, broker, Registry([registry_path]))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, http=HttpProtocol, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup([listener])  # what `serve` does, without its signal handlers
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        yield Api(url, http, app.state.context, broker, config)
    await server.shutdown([listener])


def problem(response: httpx.Response) -> dict[str, Any]:
    """The problem+json of a response."""
    assert response.headers["Content-Type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    return body


async def until(condition: Callable[[], Any], within_s: float = 30.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)
