"""Requests with several attempts, through real processes: nothing is lost, nothing is counted twice."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from served import Service, ask
from test_load import samples

from benchmarks.cluster import until
from tests.conftest import PUZZLE

CALLERS = 120
ATTEMPTS = 12
SEGMENTS = 4
"""Of an attempt: the checkpoint of these tests uses them all, and is never right."""


@pytest.mark.slow
async def test_searches_are_all_answered_once_although_the_worker_is_killed(start: Callable[..., Service]) -> None:
    service = start()
    until(service.ready)
    modes = ("verified", "vote", "act")
    asked = [
        asyncio.create_task(
            ask(service.url, mode=mode, **({} if mode == "act" else {"attempts": ATTEMPTS}))
        )
        for _ in range(CALLERS // len(modes))
        for mode in modes
    ]  # fmt: skip
    for count, answered in enumerate(asyncio.as_completed(asked), start=1):
        await answered
        if count == CALLERS // 3:
            service.kill("hrm worker")
    assert {task.result()[0] for task in asked} == {200}
    answers = [task.result()[1] for task in asked]
    assert len({answer["id"] for answer in answers}) == CALLERS
    searched = [answer for answer in answers if answer["attempts"] > 1]
    assert len(searched) == 2 * CALLERS // 3
    assert {(a["attempts"], a["total_segments"], a["valid"]) for a in searched} == {
        (ATTEMPTS, ATTEMPTS * SEGMENTS, False)
    }


async def test_hanging_up_ends_all_attempts(start: Callable[..., Service]) -> None:
    service = start()
    until(service.ready)
    body = {"task": "sudoku", "puzzle": PUZZLE, "mode": "verified", "attempts": 32, "max_segments": 128}
    async with httpx.AsyncClient(timeout=60) as http:
        search = asyncio.create_task(http.post(f"{service.url}/solve", json=body))
        await asyncio.to_thread(until, lambda: samples(service, "hrm_slots_occupied") > 0)
        search.cancel()
        await asyncio.wait([search])
    assert search.cancelled()
    until(lambda: samples(service, "hrm_slots_occupied") == 0)
    assert (await ask(service.url))[0] == 200
    assert samples(service, "hrm_attempts_count") == 0


async def test_the_metrics_tell_what_a_search_spent(start: Callable[..., Service]) -> None:
    service = start()
    until(service.ready)
    _, answer = await ask(service.url, mode="verified", attempts=3, max_total_segments=10)
    assert (answer["attempts"], answer["total_segments"], answer["halted_by"]) == (3, 10, "max_segments")
    until(lambda: samples(service, "hrm_attempts_count") == 1)
    assert samples(service, "hrm_attempts_sum") == 3
    assert samples(service, "hrm_segments_used_sum") == 10
    assert samples(service, "hrm_winning_attempt_count") == 0
