"""Promises 5 and 9: checkpoints change under load, nobody notices but by the name on the answer, memory stays flat.

`make soak` asks for more of it, by SOAK_SWAPS and SOAK_REQUESTS.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from served import Service, ask

from benchmarks.cluster import until
from model.registry import Registry
from tests.conftest import write_tiny

CALLERS = 64
SWAPS = int(os.environ.get("SOAK_SWAPS", "20"))
REQUESTS = int(os.environ.get("SOAK_REQUESTS", "0"))
"""At least so many; evenly spread over the swaps."""
PROCESSES = ("hrm worker", "hrm api", "valkey-server")
MOST_GROWN = 5e6


class Answers:
    """What the callers were told, in little room: there may be a hundred thousand."""

    def __init__(self) -> None:
        self.count = 0
        self.ids: set[str] = set()
        self.solutions: dict[str, set[str]] = {}
        """By checkpoint; all callers ask the same puzzle."""
        self.newest = ""

    def add(self, answer: dict) -> None:
        self.count += 1
        self.ids.add(answer["id"])
        self.newest = answer["checkpoint"]
        self.solutions.setdefault(self.newest, set()).add(answer["solution"])


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two versions that answer the same puzzle differently."""
    for seed, version in enumerate(("one", "two")):
        write_tiny(tmp_path, version, seed)
    registry = Registry([tmp_path])
    registry.use("sudoku", "one")
    return registry


async def call(url: str, answers: Answers, stop: asyncio.Event) -> None:
    """A caller that asks again and again."""
    while not stop.is_set():
        status, answer = await ask(url)
        assert status == 200, answer
        answers.add(answer)


async def served(answers: Answers, version: str, requests: int) -> None:
    """Return when the newest answer comes from `version`, and there are so many in all."""
    give_up = time.monotonic() + 60 + requests / 10
    while answers.newest != f"sudoku/{version}" or answers.count < requests:
        assert time.monotonic() < give_up, f"{version} was never served"
        await asyncio.sleep(0.02)


def grown(memory: list[float]) -> float:
    """Bytes by which memory grew, by its slope over all swaps but the first fifth, in which pools fill."""
    steady = memory[len(memory) // 5 :]
    return float(np.polyfit(range(len(steady)), steady, 1)[0]) * (len(steady) - 1)


@pytest.mark.slow
@pytest.mark.timeout(300 + REQUESTS / 10)
async def test_swaps_under_load(start: Callable[..., Service], registry: Registry) -> None:
    service = start(registry=registry.writable)
    until(service.ready, 180)
    children = {name: service.children(name)[0] for name in PROCESSES}
    memory: dict[str, list[float]] = {name: [] for name in PROCESSES}
    answers, stop, began = Answers(), asyncio.Event(), time.monotonic()
    callers = [asyncio.create_task(call(service.url, answers, stop)) for _ in range(CALLERS)]
    await served(answers, "one", CALLERS)
    for swap in range(SWAPS):
        version = ("two", "one")[swap % 2]
        registry.use("sudoku", version)
        await served(answers, version, REQUESTS * (swap + 1) // SWAPS)
        for name, child in children.items():
            memory[name].append(child.memory_info().rss)
    stop.set()
    await asyncio.gather(*callers)

    print(f"{SWAPS} swaps, {answers.count} answers in {time.monotonic() - began:.0f} s")
    for name in PROCESSES:
        print(f"{name}: {memory[name][-1] / 1e6:.1f} MB, grown by {grown(memory[name]) / 1e6:+.2f} MB")
    assert set(answers.solutions) == {"sudoku/one", "sudoku/two"}
    assert all(len(solutions) == 1 for solutions in answers.solutions.values()), "a puzzle saw two versions"
    assert answers.solutions["sudoku/one"] != answers.solutions["sudoku/two"]
    assert len(answers.ids) == answers.count
    assert {name: service.children(name) for name in PROCESSES} == {name: [child] for name, child in children.items()}
    for name in ("hrm worker", "hrm api"):  # Valkey keeps every result for a minute, and so grows for one
        assert grown(memory[name]) < MOST_GROWN, f"{name} grew over the swaps: {memory[name]}"
