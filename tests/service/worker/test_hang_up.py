"""Promise 7: a client that hangs up frees its slot within one segment. A real API, queue and loop; a stub reasons."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
from worker_lab import TASK, Hired

from service.settings import Settings
from tests.conftest import PUZZLE
from tests.service.api.conftest import api_server, until

BODY = {"task": TASK, "puzzle": PUZZLE}


async def hang_up(request: asyncio.Task[httpx.Response]) -> None:
    request.cancel()
    await asyncio.wait([request])


async def test_a_client_that_hangs_up_frees_its_slot_within_one_segment(
    settings: Settings, hire: Callable[..., Hired], tiny_registry: Path
) -> None:
    worker = hire(is_open=False, segments=1000)
    async with api_server(settings, tiny_registry) as api:
        unwanted = asyncio.create_task(api.http.post("/solve", json=BODY))
        await until(lambda: worker.gate.waiting)
        await hang_up(unwanted)
        await until(lambda: worker.finished("cancelled") == 1)
        assert worker.occupied == 1, "its segment still runs"
        worker.gate.let(1)
        await until(lambda: worker.occupied == 0)
        assert worker.segments <= 2


async def test_one_with_an_idempotency_key_may_come_back(
    settings: Settings, hire: Callable[..., Hired], tiny_registry: Path
) -> None:
    worker = hire(is_open=False, segments=2)
    headers = {"Idempotency-Key": "mine"}
    async with api_server(settings, tiny_registry) as api:
        first = asyncio.create_task(api.http.post("/solve", json=BODY, headers=headers))
        await until(lambda: worker.gate.waiting)
        await hang_up(first)
        worker.gate.let()
        await until(lambda: worker.finished("act") == 1)
        again = await api.http.post("/solve", json=BODY, headers=headers)
        while again.status_code == 409:
            again = await api.http.post("/solve", json=BODY, headers=headers)
        assert again.json()["segments"] == 2
        assert worker.finished("act") == 1, "it was solved once"
