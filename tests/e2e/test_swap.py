"""Promise 5: checkpoints change under load, and nobody notices but by the name on the answer."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from served import Service, ask

from benchmarks.cluster import until
from model.registry import Registry
from tests.conftest import write_tiny

CALLERS = 64
SWAPS = 20


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two versions that answer the same puzzle differently."""
    for seed, version in enumerate(("one", "two")):
        write_tiny(tmp_path, version, seed)
    registry = Registry([tmp_path])
    registry.use("sudoku", "one")
    return registry


async def call(url: str, answers: list[dict], stop: asyncio.Event) -> None:
    """A caller that asks again and again."""
    while not stop.is_set():
        status, answer = await ask(url)
        assert status == 200, answer
        answers.append(answer)


async def served(answers: list[dict], version: str) -> None:
    """Return when the newest answer comes from `version`."""
    give_up = time.monotonic() + 30
    while answers[-1]["checkpoint"] != f"sudoku/{version}":
        assert time.monotonic() < give_up, f"{version} was never served"
        await asyncio.sleep(0.02)


def resident(worker: psutil.Process) -> int:
    return int(worker.memory_info().rss)


@pytest.mark.slow
async def test_twenty_swaps_under_load(start: Callable[..., Service], registry: Registry) -> None:
    service = start(registry=registry.writable)
    until(service.ready)
    worker = service.children("hrm worker")[0]
    answers: list[dict] = []
    stop = asyncio.Event()
    callers = [asyncio.create_task(call(service.url, answers, stop)) for _ in range(CALLERS)]
    await asyncio.sleep(1)
    memory = []
    for swap in range(SWAPS):
        version = ("two", "one")[swap % 2]
        registry.use("sudoku", version)
        await served(answers, version)
        memory.append(resident(worker))
    stop.set()
    await asyncio.gather(*callers)

    by_version: dict[str, set[str]] = {}
    for answer in answers:
        by_version.setdefault(answer["checkpoint"], set()).add(answer["solution"])
    assert set(by_version) == {"sudoku/one", "sudoku/two"}
    assert all(len(solutions) == 1 for solutions in by_version.values()), "a puzzle saw two versions"
    assert by_version["sudoku/one"] != by_version["sudoku/two"]
    assert len({answer["id"] for answer in answers}) == len(answers)
    assert memory[-1] - memory[3] < 5e6, f"resident memory grew over the swaps: {memory}"
    assert service.children("hrm worker") == [worker], "the worker was restarted"
