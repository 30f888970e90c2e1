"""The API as the process that it is: what it weighs, where it listens, how it ends."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import PUZZLE
from tests.service.api.conftest import problem, until
from tests.service.api.scripted import ScriptedWorker, held, solved

BODY = {"task": "sudoku", "puzzle": PUZZLE}


class Process:
    """`hrm api`, with what it logged."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as file:
            command = [sys.executable, "-m", "service.cli", "api"]
            self.process = subprocess.Popen(command, env=os.environ | environment, stderr=file)

    async def url(self) -> str:
        """Where it listens, once it does."""
        await until(lambda: "listening on" in self.log.read_text() or self.process.poll() is not None, 30)
        found = re.search(r"listening on (\S+)", self.log.read_text())
        assert found, self.log.read_text()
        async with httpx.AsyncClient() as http:
            async with asyncio.timeout(30):
                while not await _answers(http, f"{found[1]}/readyz"):
                    await asyncio.sleep(0.02)
        return found[1]

    async def ended(self) -> int:
        await until(lambda: self.process.poll() is not None, 30)
        return self.process.returncode


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def start(redis_url: str, registry_path: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts `hrm api` on this test's queue."""
    processes = []

    def starter(**settings: Any) -> Process:
        own = {"redis_url": redis_url, "checkpoints": registry_path, "port": 0, **settings}
        environment = {f"HRM_{name.upper()}": str(value) for name, value in own.items()}
        processes.append(Process(environment, tmp_path / f"api-{len(processes)}.log"))
        return processes[-1]

    yield starter
    for process in processes:
        process.process.kill()
        process.process.wait()


async def test_it_never_imports_torch_and_stays_below_120_mb(
    start: Callable[..., Process], worker: ScriptedWorker
) -> None:
    process = start()
    async with httpx.AsyncClient(base_url=await process.url()) as http:
        for _ in range(5):
            answers = await asyncio.gather(*(http.post("/solve", json=BODY) for _ in range(40)))
            assert {answer.status_code for answer in answers} == {200}
        await http.get("/metrics")
        await http.get("/openapi.json")
        body = {"task": "sudoku", "puzzles": [PUZZLE] * 200}
        assert (await http.post("/solve/batch", json=body)).status_code == 200
    memory = psutil.Process(process.process.pid)
    assert memory.memory_info().rss < 120e6
    assert not [file.path for file in memory.memory_maps() if "torch" in file.path]


async def test_sigterm_answers_what_is_waited_for_and_refuses_the_rest(
    start: Callable[..., Process], worker: ScriptedWorker
) -> None:
    worker.script = held
    process = start()
    async with httpx.AsyncClient(base_url=await process.url(), timeout=20) as http:
        waiting = [asyncio.create_task(http.post("/solve", json=BODY)) for _ in range(3)]
        await until(lambda: len(worker.held) == 3)
        process.process.send_signal(signal.SIGTERM)
        await until(lambda: "shutting down" in process.log.read_text())

        refused = await http.post("/solve", json=BODY)
        assert problem(refused)["type"] == "urn:hrm:problem:draining"
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/livez")).status_code == 200

        worker.script = solved
        assert [(await request).status_code for request in waiting] == [200, 200, 200]
    assert await process.ended() == 0


async def test_sigterm_turns_the_waiting_away_when_no_worker_is_left(
    start: Callable[..., Process], worker: ScriptedWorker
) -> None:
    worker.script = held
    process = start()
    url = await process.url()
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        body = {"task": "sudoku", "puzzles": [PUZZLE]}
        waiting = asyncio.create_task(http.post("/solve", json=BODY))
        batch = asyncio.create_task(http.post("/solve/batch", json=body))
        await until(lambda: len(worker.held) == 2)
        worker.stop()
        process.process.send_signal(signal.SIGTERM)
        assert problem(await waiting)["type"] == "urn:hrm:problem:draining"
        assert "urn:hrm:problem:draining" in (await batch).text
    assert await process.ended() == 0


async def test_a_second_signal_turns_the_waiting_away(start: Callable[..., Process], worker: ScriptedWorker) -> None:
    worker.script = held
    process = start()
    async with httpx.AsyncClient(base_url=await process.url(), timeout=20) as http:
        waiting = asyncio.create_task(http.post("/solve", json=BODY))
        await until(lambda: worker.held)
        process.process.send_signal(signal.SIGINT)
        await until(lambda: "shutting down" in process.log.read_text())
        process.process.send_signal(signal.SIGINT)
        assert problem(await waiting)["type"] == "urn:hrm:problem:draining"
    assert await process.ended() == 0


async def test_probes_and_metrics_can_have_a_port_of_their_own(start: Callable[..., Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = start(metrics_port=port, metrics_from=f"http://127.0.0.1:{port}/metrics#api-1")
    url = await process.url()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        assert (await http.get("/livez")).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
        assert 'hrm_queue_depth{lane="high",task="sudoku"} 0.0' in (await http.get("/metrics")).text
        named = 'hrm_queue_depth{lane="high",process="api-1",task="sudoku"} 0.0'
        assert named in (await http.get(f"{url}/metrics")).text, "it may be one of those that it shows"
        assert (await http.post("/solve", json=BODY)).status_code >= 400


async def test_with_a_port_of_their_own_metrics_are_not_on_the_public_one(start: Callable[..., Process]) -> None:
    async with httpx.AsyncClient(base_url=await start(metrics_port=0).url()) as http:
        assert (await http.get("/metrics")).status_code == 404
        assert (await http.get("/livez")).status_code == 200


@pytest.mark.parametrize("setting", ["port", "metrics_port"])
async def test_a_taken_port_is_one_line(start: Callable[..., Process], setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(**{setting: taken.getsockname()[1]})
        assert await process.ended() == 2
    (line,) = process.log.read_text().splitlines()
    assert f"HRM_{setting.upper()}: cannot listen on port" in line


async def test_without_redis_url_it_says_what_is_missing(start: Callable[..., Process]) -> None:
    process = start(redis_url="")
    assert await process.ended() == 2
    assert "HRM_REDIS_URL is not set" in process.log.read_text()


async def test_several_processes_share_a_port(start: Callable[..., Process], worker: ScriptedWorker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    urls = {await start(port=port, api_processes=2).url() for _ in range(2)}
    assert urls == {f"http://127.0.0.1:{port}"}
    async with httpx.AsyncClient() as http:
        assert (await http.post(f"{urls.pop()}/solve", json=BODY)).status_code == 200
