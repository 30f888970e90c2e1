"""Two thousand callers at once, with default settings, and a worker that is killed under them."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import Service, ask

from benchmarks.cluster import until

CALLERS = 2000


def samples(service: Service, name: str) -> float:
    """The sum of a metric's samples over all labels."""
    families = text_string_to_metric_families(httpx.get(f"{service.url}/metrics").text)
    return sum(s.value for family in families for s in family.samples if s.name == name)


async def ask_all(url: str, after: Callable[[int], None]) -> list[dict[str, Any]]:
    """Everybody's answer, each a 200; `after` is told how many there are so far."""
    asked = [asyncio.create_task(ask(url)) for _ in range(CALLERS)]
    for count, answered in enumerate(asyncio.as_completed(asked), start=1):
        await answered
        after(count)
    assert {task.result()[0] for task in asked} == {200}
    return [task.result()[1] for task in asked]


@pytest.mark.slow
async def test_two_thousand_at_once_are_all_answered_once(start: Callable[..., Service]) -> None:
    service = start()
    until(service.ready)
    answers = await ask_all(service.url, after=lambda count: None)
    assert len({answer["id"] for answer in answers}) == CALLERS
    assert samples(service, "hrm_queue_wait_seconds_count") == CALLERS
    assert samples(service, "hrm_segments_used_count") == CALLERS
    assert samples(service, "hrm_segments_used_sum") == sum(answer["segments"] for answer in answers)


@pytest.mark.slow
async def test_two_thousand_are_all_answered_although_the_worker_is_killed(start: Callable[..., Service]) -> None:
    service = start()
    until(service.ready)
    answers = await ask_all(service.url, lambda count: service.kill("hrm worker") if count == 300 else None)
    assert len({answer["id"] for answer in answers}) == CALLERS
    assert "what the dead worker held goes to others" in service.log
