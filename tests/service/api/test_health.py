"""`/livez`, `/readyz`, `/tasks`, `/workers`, and life while Redis is away."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from service.broker.embedded import EmbeddedServer
from service.settings import Settings
from tests.conftest import PUZZLE
from tests.service.api.conftest import Api, api_server, problem, publish, until
from tests.service.api.scripted import ScriptedWorker


async def test_ready_means_started_and_live_means_alive(api: Api) -> None:
    await until(lambda: api.context.started)
    assert (await api.http.get("/livez")).json() == {"status": "live"}
    assert (await api.http.get("/readyz")).json() == {"status": "ready"}


async def test_ready_for_a_task_means_a_live_and_warm_worker(
    api: Api, make_worker: Callable[..., ScriptedWorker]
) -> None:
    await until(lambda: api.context.started)
    nobody = await api.http.get("/readyz?task=sudoku")
    assert (problem(nobody)["type"], nobody.headers["Retry-After"]) == ("urn:hrm:problem:not-ready", "1")
    cold, warm = make_worker("cold"), make_worker("warm")
    cold.start(warm=False)
    assert (await api.http.get("/readyz?task=sudoku")).status_code == 503
    warm.start()
    assert (await api.http.get("/readyz?task=sudoku")).status_code == 200
    warm.stop()
    assert (await api.http.get("/readyz?task=sudoku")).status_code == 503
    assert problem(await api.http.get("/readyz?task=chess"))["type"] == "urn:hrm:problem:unknown-task"


async def test_workers_are_shown_as_they_describe_themselves(api: Api, worker: ScriptedWorker) -> None:
    (shown,) = (await api.http.get("/workers")).json()
    assert (shown["id"], shown["device"], shown["draining"]) == ("scripted", "script", False)
    assert shown["tasks"]["sudoku"] == {"checkpoint": "sudoku/scripted", "warm": True, "slots": 64}
    assert 0 < shown["expires_in_s"] <= 8


async def test_tasks_are_shown_with_their_limits(api: Api) -> None:
    arc, sudoku = (await api.http.get("/tasks")).json()
    assert (sudoku["task"], sudoku["checkpoint"], sudoku["max_segments"]) == ("sudoku", "sudoku/1", 16)
    assert (sudoku["has_checker"], sudoku["needs_puzzle_id"], sudoku["example"]) == (True, False, PUZZLE)
    assert arc["needs_puzzle_id"]


async def test_redis_may_come_late_and_go_away(tmp_path: Path, registry_path: Path) -> None:
    redis = EmbeddedServer(tmp_path / "valkey")
    async with api_server(Settings(redis_url=redis.url), registry_path) as api:
        early = await api.http.get("/readyz")
        assert (problem(early)["type"], early.headers["Retry-After"]) == ("urn:hrm:problem:not-ready", "1")
        await _expect_503_within_a_second(api)

        redis.start()
        await until(lambda: api.context.started)
        assert (await api.http.get("/readyz")).status_code == 200
        assert (await api.http.post("/jobs", json={"task": "sudoku", "puzzle": PUZZLE})).status_code == 202

        redis.stop()
        await _expect_503_within_a_second(api)
        assert (await api.http.get("/livez")).status_code == 200
        assert (await api.http.get("/metrics")).status_code == 200

        redis.start()
        async with asyncio.timeout(10):
            while (await api.http.post("/jobs", json={"task": "sudoku", "puzzle": PUZZLE})).status_code != 202:
                pass
    redis.stop()


async def _expect_503_within_a_second(api: Api) -> None:
    async with asyncio.timeout(1):
        response = await api.solve(puzzle=PUZZLE)
    assert problem(response)["type"] == "urn:hrm:problem:queue-away"
    assert "Retry-After" in response.headers


async def test_a_new_task_appears_and_a_bad_checkpoint_does_not(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with api_server(Settings(redis_url=redis_url), tmp_path) as api:
        catalogue = api.context.catalogue
        assert problem(await api.solve(puzzle=PUZZLE))["detail"] == "no task 'sudoku'; known: none yet"

        publish(tmp_path, "sudoku", "1")
        await until(lambda: catalogue.names() == ["sudoku"])
        assert (await api.http.post("/jobs", json={"task": "sudoku", "puzzle": PUZZLE})).status_code == 202

        publish(tmp_path, "sudoku", "2")
        (tmp_path / "sudoku" / "2" / "config.json").write_text("{")
        await until(lambda: "cannot be read" in caplog.text)
        assert [checkpoint.name for checkpoint in catalogue.all()] == ["sudoku/1"]
