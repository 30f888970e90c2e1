"""`GET /metrics`: the API's own, or those of several processes."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from service.api.middleware import RequestsMiddleware
from service.logs import JsonFormatter
from service.metrics import ApiMetrics, WorkerMetrics, segment_buckets
from service.probes import Probes
from tests.conftest import PUZZLE
from tests.service.api.conftest import Api, ServeApi, problem, until
from tests.service.api.scripted import ScriptedWorker, held


async def value(api: Api, name: str, **labels: str) -> float:
    """One series of /metrics."""
    (found,) = [s.value for s in await samples(api) if s.name == name and labels.items() <= s.labels.items()]
    return found


async def samples(api: Api) -> list[Sample]:
    text = (await api.http.get("/metrics")).text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


@contextmanager
def exporting(metrics: ApiMetrics | WorkerMetrics) -> Iterator[str]:
    """Where another process shows these."""
    probes = Probes("127.0.0.1", 0, live=lambda: None, ready=lambda: None, metrics=metrics.render)
    yield f"http://127.0.0.1:{probes.port}/metrics"
    probes.close()


async def test_requests_are_counted_by_route(api: Api, worker: ScriptedWorker) -> None:
    async def solved(code: str) -> float:
        return await value(api, "hrm_http_requests_total", route="/solve", method="POST", code=code)

    assert await solved("200") == 0
    for puzzle in (PUZZLE, PUZZLE, "bad"):
        await api.solve(puzzle=puzzle)
    assert (await solved("200"), await solved("422")) == (2, 1)
    assert await value(api, "hrm_http_request_duration_seconds_count", route="/solve") == 3
    await api.http.get("/nowhere/1"), await api.http.get("/nowhere/2"), await api.http.request("PROPFIND", "/solve")
    assert await value(api, "hrm_http_requests_total", route="unmatched", method="GET", code="404") == 2
    assert await value(api, "hrm_http_requests_total", method="other", code="405") == 1


async def test_a_client_that_hung_up_counts_as_499(api: Api, worker: ScriptedWorker) -> None:
    worker.script = held
    request = asyncio.create_task(api.solve(puzzle=PUZZLE))
    await until(lambda: worker.held)
    request.cancel()
    await until(lambda: worker.cancelled)
    assert await value(api, "hrm_http_requests_total", route="/solve", code="499") == 1


async def test_the_queue_is_shown_as_it_stands(serve_api: ServeApi) -> None:
    api = await serve_api(queue_limit=2)
    assert await value(api, "hrm_queue_depth", task="sudoku", lane="normal") == 0
    for _ in range(3):
        await api.http.post("/jobs", json={"task": "sudoku", "puzzle": PUZZLE})
    assert await value(api, "hrm_queue_depth", task="sudoku", lane="normal") == 2
    assert await value(api, "hrm_queue_depth", task="sudoku", lane="high") == 0
    assert await value(api, "hrm_queue_oldest_age_seconds", task="sudoku", lane="normal") > 0
    assert await value(api, "hrm_admission_rejected_total", reason="queue_full") == 1


async def test_several_processes_are_shown_under_their_names(serve_api: ServeApi) -> None:
    worker = WorkerMetrics(max_segments=16)
    worker.segments_used.labels("sudoku", "act").observe(3)
    with exporting(ApiMetrics()) as sibling, exporting(worker) as busy, exporting(WorkerMetrics(16)) as unnamed:
        gone = "http://127.0.0.1:1/metrics#worker-2"
        api = await serve_api(metrics_from=f"{sibling}#api-1,{busy}#worker-1,{gone},{unnamed}")
        builds = [sample.labels["process"] for sample in await samples(api) if sample.name == "hrm_build_info"]
        assert builds == ["api-1", "worker-1", unnamed]
        assert await value(api, "hrm_segments_used_sum", task="sudoku", halt="act", process="worker-1") == 3


def test_no_metric_has_two_owners_but_those_of_every_process() -> None:
    api, worker = ({family.name for family in role.registry.collect()} for role in (ApiMetrics(), WorkerMetrics(16)))
    assert api & worker == {"hrm_redis_errors", "hrm_build_info"}


def test_segments_have_a_bucket_each_up_to_16_and_end_at_the_cap() -> None:
    assert segment_buckets(8) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert segment_buckets(64) == [*range(1, 17), 20, 24, 28, 32, 40, 48, 56, 64]


async def test_a_request_keeps_its_label(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service.api")
    label: Callable[[str], dict[str, str]] = lambda text: {"X-Request-Id": text}  # noqa: E731
    assert (await api.http.get("/tasks", headers=label("mine-1"))).headers["X-Request-Id"] == "mine-1"
    for bad in ("x" * 129, "a b"):
        assert (await api.http.get("/tasks", headers=label(bad))).headers["X-Request-Id"] != bad
    records = [record for record in caplog.records if record.getMessage() == "request"]
    assert [vars(record)["route"] for record in records] == ["/tasks"] * 3


@pytest.mark.parametrize("path", ["/solve", "/jobs"])
async def test_a_request_that_meets_a_bug_keeps_its_label(
    api: Api, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(api.context.catalogue, "find", Mock(side_effect=RuntimeError("a bug")))
    caplog.handler.setFormatter(JsonFormatter())
    response = await api.http.post(path, json={"puzzle": PUZZLE}, headers={"X-Request-Id": "mine-1"})
    assert problem(response)["type"] == "urn:hrm:problem:internal"
    assert response.headers["X-Request-Id"] == "mine-1"
    (line,) = map(json.loads, caplog.text.splitlines())
    assert (line["message"], line["request_id"]) == ("a request failed", "mine-1")
    assert "RuntimeError: a bug" in line["exception"]
    assert await value(api, "hrm_http_requests_total", route=path, code="500") == 1


async def test_a_bug_in_the_middle_of_a_response_ends_it(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("a bug")

    sent: list[Any] = []
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(RuntimeError):
        await RequestsMiddleware(app, api.context.metrics)(scope, AsyncMock(), AsyncMock(side_effect=sent.append))
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert "a request failed" in caplog.text


@pytest.mark.parametrize(("path", "status"), [("/solve", 200), ("/jobs", 202)])
async def test_the_log_names_the_job_that_a_repeated_request_found(
    api: Api, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    caplog.set_level(logging.INFO)
    body, headers = {"task": "sudoku", "puzzle": PUZZLE}, {"Idempotency-Key": "once"}
    for _ in range(2):
        assert (await api.http.post(path, json=body, headers=headers)).status_code == status
    records = [record for record in caplog.records if record.getMessage() == "request"]
    assert [vars(record)["job_id"] for record in records] == [worker.seen[0].id] * 2


async def test_the_log_names_the_job_and_never_the_puzzle(
    api: Api, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = await api.solve(puzzle=PUZZLE)
    (record,) = [record for record in caplog.records if record.getMessage() == "request"]
    assert vars(record)["job_id"] == answer.json()["id"]
    assert not [record for record in caplog.records if PUZZLE in str(vars(record))]
