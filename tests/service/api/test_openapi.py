"""The OpenAPI document says what the routes do."""

from typing import Any

import pytest

from model.registry import Registry
from service.api.app import create_app
from service.api.batch.schemas import BatchLine, BatchRequest
from service.api.checkpoints.schemas import Load, TaskStatus
from service.api.jobs.schemas import Job
from service.broker.config import BrokerConfig
from service.broker.front import RedisFrontBroker
from service.checkpoints import TaskVersions
from service.schemas import Answer, Problem, SolveRequest
from service.settings import Settings

MODELS = {
    model.__name__: model
    for model in (SolveRequest, Answer, BatchRequest, BatchLine, Job, Load, TaskVersions, TaskStatus, Problem)
}


@pytest.fixture
async def document() -> dict[str, Any]:
    return create_app(Settings(), RedisFrontBroker(BrokerConfig("unix:///nowhere"), "none"), Registry([])).openapi()


def bodies(node: Any) -> list[dict[str, Any]]:
    """Everything with a schema and examples in the document."""
    if isinstance(node, list):
        return [body for item in node for body in bodies(item)]
    if not isinstance(node, dict):
        return []
    own = [node] if "schema" in node and ("example" in node or "examples" in node) else []
    return own + [body for item in node.values() for body in bodies(item)]


async def test_every_route_is_documented(document: dict[str, Any]) -> None:
    routes = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert routes == {
        ("post", "/solve"),
        ("post", "/solve/batch"),
        ("post", "/jobs"),
        ("get", "/jobs/{job_id}"),
        ("delete", "/jobs/{job_id}"),
        ("get", "/tasks"),
        ("get", "/workers"),
        ("get", "/checkpoints"),
        ("get", "/checkpoints/{task}"),
        ("post", "/checkpoints/{task}/load"),
        ("post", "/checkpoints/{task}/rollback"),
        ("get", "/livez"),
        ("get", "/readyz"),
        ("get", "/metrics"),
    }


async def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for body in bodies(document["paths"]):
        model = MODELS.get(body["schema"].get("$ref", "").rpartition("/")[2])
        examples = [body["example"]] if "example" in body else [item["value"] for item in body["examples"].values()]
        for example in examples if model else ():
            model.model_validate(example)  # type: ignore[union-attr]
            checked += 1
    assert checked > 40


async def test_solve_has_an_example_for_every_task_and_every_status(document: dict[str, Any]) -> None:
    solve = document["paths"]["/solve"]["post"]
    assert set(solve["requestBody"]["content"]["application/json"]["examples"]) == {"arc", "maze", "sudoku"}
    assert set(solve["responses"]["200"]["content"]["application/json"]["examples"]) == {"arc", "maze", "sudoku"}
    statuses = {"200", "400", "401", "404", "408", "409", "410", "413", "422", "429", "500", "503", "504"}
    assert set(solve["responses"]) == statuses
    assert set(solve["responses"]["503"]["content"]["application/problem+json"]["examples"]) == {
        "queue-full",
        "queue-away",
        "draining",
        "job-lost",
    }


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        items = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        own = [node["$ref"]] if isinstance(node, dict) and "$ref" in node else []
        return own + [reference for item in items for reference in references(item)]

    schemas = document["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in references(document)} <= set(schemas)
