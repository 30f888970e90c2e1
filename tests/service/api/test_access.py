"""API keys, their quota, and the admin key."""

import httpx
import pytest
from fastapi import FastAPI, Request

from service.api.access import Keyring
from service.api.errors import handle_errors
from service.settings import Settings
from tests.conftest import PUZZLE
from tests.service.api.conftest import ServeApi, problem
from tests.service.api.scripted import ScriptedWorker

BODY = {"task": "sudoku", "puzzle": PUZZLE}


async def test_work_needs_a_key_and_probes_do_not(serve_api: ServeApi, worker: ScriptedWorker) -> None:
    api = await serve_api(api_keys="alice:a-secret")
    for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a-secret"}, {"Authorization": "é"}):
        response = await api.http.post("/solve", json=BODY, headers=[(k, v.encode()) for k, v in shown.items()])
        assert problem(response)["type"] == "urn:hrm:problem:bad-key"
        assert response.headers["WWW-Authenticate"] == "Bearer"
    for path in ("/tasks", "/workers", "/jobs/x"):
        assert (await api.http.get(path)).status_code == 401
    for path in ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert (await api.http.get(path)).status_code == 200
    response = await api.http.post("/solve", json=BODY, headers={"Authorization": "bearer a-secret"})
    assert response.status_code == 200


async def test_a_quota_is_of_one_key_alone(serve_api: ServeApi) -> None:
    api = await serve_api(api_keys="alice:a-secret,bob:b-secret", quota=2)
    alice, bob = {"Authorization": "Bearer a-secret"}, {"Authorization": "Bearer b-secret"}
    for _ in range(2):
        assert (await api.http.post("/jobs", json=BODY, headers=alice)).status_code == 202
    response = await api.http.post("/jobs", json=BODY, headers=alice)
    assert problem(response)["type"] == "urn:hrm:problem:over-quota"
    assert int(response.headers["Retry-After"]) >= 1
    assert (await api.http.post("/jobs", json=BODY, headers=bob)).status_code == 202


@pytest.mark.parametrize(
    ("admin_key", "shown", "status"), [(None, "x", 403), ("x", "y", 403), ("x", None, 403), ("x", "x", 200)]
)
async def test_the_admin_key_opens_what_depends_on_it(admin_key: str | None, shown: str | None, status: int) -> None:
    keyring, app = Keyring(Settings(admin_key=admin_key)), FastAPI()
    handle_errors(app)

    @app.get("/checkpoints")
    async def checkpoints(request: Request) -> str:
        keyring.admin(request)
        return "for administrators"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        headers = {"Authorization": f"Bearer {shown}"} if shown else {}
        assert (await http.get("/checkpoints", headers=headers)).status_code == status
