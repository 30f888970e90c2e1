"""`/checkpoints`: with the admin key, over a real port, a real registry and a real queue."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from model.registry import Registry
from service.settings import Settings
from tests.service.api.conftest import Api, api_server, problem, publish, until
from tests.service.api.scripted import ScriptedWorker

ADMIN = {"Authorization": "Bearer secret"}
ROUTES = [("GET", ""), ("GET", "/sudoku"), ("POST", "/sudoku/load"), ("POST", "/sudoku/rollback")]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Sudoku with the versions 1 and 2, used in this order, and an ARC."""
    publish(tmp_path, "sudoku", "1")
    publish(tmp_path, "sudoku", "2")
    publish(tmp_path, "arc", "1")
    return Registry([tmp_path])


@pytest.fixture
async def api(redis_url: str, registry: Registry) -> AsyncIterator[Api]:
    async with api_server(Settings(redis_url=redis_url, admin_key="secret"), registry.writable) as api:
        api.http.headers.update(ADMIN)
        yield api


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_wants_the_admin_key(api: Api, method: str, path: str) -> None:
    for key in ("", "Bearer wrong", "Basic secret"):
        response = await api.http.request(method, f"/checkpoints{path}", headers={"Authorization": key})
        assert problem(response)["status"] == 403


async def test_without_an_admin_key_nobody_gets_in(unconnected: httpx.AsyncClient) -> None:
    assert "HRM_ADMIN_KEY" in problem(await unconnected.get("/checkpoints", headers=ADMIN))["detail"]


async def test_it_lists_what_is_there_and_what_the_workers_made_of_it(
    api: Api, make_worker: Callable[..., ScriptedWorker]
) -> None:
    refusal = {"version": "2", "outcome": "refused", "reason": "0 of 1 came out", "seconds": 0.2, "at": 1.0}
    worker = make_worker("worker-1")
    worker.broker.announce(
        {
            "tasks": {"sudoku": {"checkpoint": "sudoku/1", "warm": True, "slots": 4}},
            "loads": {"sudoku": refusal},
        }
    )
    arc, sudoku = (await api.http.get("/checkpoints")).json()
    assert arc["task"] == "arc"
    assert arc["workers"] == []
    assert (sudoku["current"], sudoku["previous"], sudoku["problem"]) == ("2", "1", None)
    assert [(version["version"], version["current"]) for version in sudoku["versions"]] == [("1", False), ("2", True)]
    assert sudoku["versions"][0]["bytes"] == len(b"never read")
    assert sudoku["workers"] == [{"worker": "worker-1", "checkpoint": "sudoku/1", "last_load": refusal}]
    assert (await api.http.get("/checkpoints/sudoku")).json() == sudoku


async def test_load_and_rollback_move_current_and_tell_the_workers(
    api: Api, registry: Registry, make_worker: Callable[..., ScriptedWorker]
) -> None:
    broker = make_worker("listener").broker
    broker.control(0.0)  # from now on it listens
    loaded = await api.http.post("/checkpoints/sudoku/load", json={"version": "1"})
    assert loaded.status_code == 200
    assert loaded.json()["current"] == registry.current_version("sudoku") == "1"
    messages = await asyncio.to_thread(broker.control, 10.0)
    assert [(message.kind, message.body["task"]) for message in messages] == [("reload", "sudoku")]

    back = await api.http.post("/checkpoints/sudoku/rollback")
    assert back.json()["current"] == registry.current_version("sudoku") == "2"
    assert back.json()["previous"] == "1"
    await until(lambda: api.context.catalogue.find("sudoku").version == "2")


async def test_going_back_ends_where_history_begins(api: Api, registry: Registry) -> None:
    assert (await api.http.post("/checkpoints/sudoku/rollback")).json()["current"] == "1"
    refused = problem(await api.http.post("/checkpoints/sudoku/rollback"))
    assert (refused["status"], refused["type"]) == (409, "urn:hrm:problem:no-earlier-version")
    assert registry.current_version("sudoku") == "1"


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/sudoku/load", {"version": "3"}, 404, "no version '3' of task 'sudoku'"),
        ("/sudoku/load", {"version": "../../etc"}, 422, "not a possible name"),
        ("/sudoku/load", {"version": 2}, 422, "version"),
        ("/sudoku/load", {}, 422, "version"),
        ("/sudoku/load", {"version": "1", "force": True}, 422, "force"),
        ("/chess/load", {"version": "1"}, 404, "no task 'chess' in the registry; there are: arc, sudoku"),
        ("/chess/rollback", None, 404, "no task 'chess'"),
        ("/..%2f..%2fetc/rollback", None, 404, ""),
    ],
)
async def test_what_cannot_be_is_refused(
    api: Api, registry: Registry, path: str, body: dict | None, status: int, detail: str
) -> None:
    refused = problem(await api.http.post(f"/checkpoints{path}", json=body))
    assert refused["status"] == status
    assert detail in refused["detail"]
    assert registry.current_version("sudoku") == "2"


async def test_a_damaged_version_is_refused_before_anything_moves(api: Api, registry: Registry) -> None:
    (registry.writable / "sudoku" / "1" / "model.safetensors").write_bytes(b"never seen")
    for call in (
        api.http.post("/checkpoints/sudoku/load", json={"version": "1"}),
        api.http.post("/checkpoints/sudoku/rollback"),
    ):
        refused = problem(await call)
        assert (refused["status"], refused["type"]) == (422, "urn:hrm:problem:bad-checkpoint")
        assert "sha256" in refused["detail"]
    assert registry.current_version("sudoku") == "2"


async def test_a_version_that_is_broken_is_listed_with_its_problem(api: Api, registry: Registry) -> None:
    (registry.writable / "sudoku" / "1" / "config.json").unlink()
    (registry.writable / "sudoku" / "CURRENT").write_text("../x\n")
    shown = (await api.http.get("/checkpoints/sudoku")).json()
    assert "does not name a version" in shown["problem"]
    assert "config.json is missing" in shown["versions"][0]["problem"]


async def test_a_registry_that_cannot_be_written_is_told(api: Api, registry: Registry) -> None:
    history = registry.writable / "sudoku" / "HISTORY"
    history.unlink()
    (history / "in the way").mkdir(parents=True)
    refused = await api.http.post("/checkpoints/sudoku/load", json={"version": "1"})
    assert problem(refused)["type"] == "urn:hrm:problem:registry-away"
    assert "Retry-After" in refused.headers
    shutil.rmtree(history)
    assert (await api.http.post("/checkpoints/sudoku/load", json={"version": "1"})).status_code == 200
