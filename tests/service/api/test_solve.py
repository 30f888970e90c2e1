"""`POST /solve` over a real socket, a real queue and a scripted worker."""

import asyncio
import json
import tracemalloc
from typing import Any

import httpx
import pytest

from service.broker.records import Finished, JobState
from service.problems import ProblemKind
from tests.conftest import PUZZLE
from tests.service.api.conftest import Api, ServeApi, problem, until
from tests.service.api.scripted import SOLUTION, ScriptedWorker, answer, failed, held, solved

GRID = [[0 if cell == "." else int(cell) for cell in PUZZLE[row * 9 : row * 9 + 9]] for row in range(9)]
TWO_FIVES = [[5, 5, *GRID[0][2:]], *GRID[1:]]


async def test_a_puzzle_is_answered(api: Api, worker: ScriptedWorker) -> None:
    response = await api.solve(puzzle=PUZZLE)
    assert response.status_code == 200
    body = response.json()
    assert (body["solution"], body["valid"], body["segments"]) == (SOLUTION, True, 3)
    assert body["id"] == worker.seen[0].id
    assert response.headers["X-HRM-Segments"] == "3"
    assert response.headers["X-HRM-Checkpoint"] == "sudoku/scripted"
    assert float(response.headers["x-inference-time"]) == 0.021
    assert float(response.headers["x-queue-time"]) == pytest.approx(body["timing"]["queue_s"], abs=1e-6)


async def test_a_grid_goes_to_the_worker_as_it_came(api: Api, worker: ScriptedWorker) -> None:
    response = await api.solve(puzzle=GRID, max_segments=8, trace=True, priority="high")
    assert response.json()["solution"][0] == [5, 3, 4, 6, 7, 8, 9, 1, 2]
    request = json.loads(worker.seen[0].request)
    assert (request["puzzle"], request["max_segments"], request["trace"]) == (GRID, 8, True)
    assert worker.seen[0].lane == "high"


async def test_the_budget_of_several_attempts_is_filled_in(serve_api: ServeApi, worker: ScriptedWorker) -> None:
    api = await serve_api(attempts_cap=6, total_segments_cap=80)
    for asked in ({}, {"attempts": 2}, {"max_total_segments": 20}):
        assert (await api.solve(puzzle=PUZZLE, mode="verified", **asked)).status_code == 200
    budgets = [json.loads(claim.request) for claim in worker.seen]
    assert [(b["attempts"], b["max_total_segments"]) for b in budgets] == [(6, 80), (2, 32), (6, 20)]


async def test_the_default_task_is_filled_in(serve_api: ServeApi, worker: ScriptedWorker) -> None:
    api = await serve_api(default_task="sudoku")
    assert (await api.http.post("/solve", json={"puzzle": PUZZLE})).status_code == 200
    assert json.loads(worker.seen[0].request)["task"] == "sudoku"


@pytest.mark.parametrize(
    ("body", "status", "kind", "pointer", "detail"),
    [
        ("{", 400, "not-json", None, "EOF while parsing"),
        ('{"puzzle": "\udcff"}', 400, "not-json", None, "unicode"),
        ("[]", 422, "bad-request", "", "object"),
        ("{}", 422, "bad-request", "/puzzle", "required"),
        ({"puzzle": 5}, 422, "bad-request", "/puzzle", "text, or a grid"),
        ({"puzzle": [[1, "a"]]}, 422, "bad-request", "/puzzle/0/1", "integer"),
        ({"puzzle": PUZZLE, "surprise": 1}, 422, "bad-request", "/surprise", "not permitted"),
        ({"puzzle": PUZZLE, "trace": "yes"}, 422, "bad-request", "/trace", "boolean"),
        ({"puzzle": PUZZLE, "max_segments": 0}, 422, "bad-request", "/max_segments", "greater than or equal to 1"),
        ({"puzzle": PUZZLE, "max_segments": 257}, 422, "bad-request", "/max_segments", "at most 256"),
        ({"puzzle": PUZZLE, "min_segments": 17}, 422, "bad-request", "/min_segments", "above max_segments (16)"),
        ({"puzzle": PUZZLE, "mode": "guess"}, 422, "bad-request", "/mode", "'vote'"),
        ({"puzzle": PUZZLE, "attempts": 4}, 422, "bad-request", "/attempts", "for the modes verified and vote"),
        (
            {"puzzle": PUZZLE, "mode": "vote", "attempts": 0},
            422,
            "bad-request",
            "/attempts",
            "greater than or equal to 1",
        ),
        ({"puzzle": PUZZLE, "mode": "vote", "attempts": 33}, 422, "bad-request", "/attempts", "at most 32"),
        (
            {"puzzle": PUZZLE, "mode": "verified", "max_total_segments": 4097},
            422,
            "bad-request",
            "/max_total_segments",
            "at most 4096",
        ),
        (
            {"task": "arc", "puzzle": [[1]], "puzzle_id": "007bbfb7", "mode": "verified"},
            422,
            "bad-request",
            "/mode",
            "`vote`",
        ),
        ({"puzzle": PUZZLE, "timeout_s": -1}, 422, "bad-request", "/timeout_s", "greater than or equal to 0.001"),
        ({"puzzle": PUZZLE, "timeout_s": 1e9}, 422, "bad-request", "/timeout_s", "at most 300"),
        ({"puzzle": PUZZLE, "puzzle_id": "x"}, 422, "bad-request", "/puzzle_id", "no puzzle identifiers"),
        ({"puzzle": PUZZLE, "task": "chess"}, 404, "unknown-task", "/task", "known: arc, sudoku"),
        ({"puzzle": PUZZLE, "task": None}, 422, "bad-request", "/task", "task is missing"),
        ({"puzzle": PUZZLE[1:]}, 422, "bad-puzzle", "/puzzle", "expected 81 cells, got 80"),
        ({"puzzle": "x" + PUZZLE[1:]}, 422, "bad-puzzle", "/puzzle/0", "'x'"),
        ({"puzzle": TWO_FIVES}, 422, "bad-puzzle", "/puzzle/0/1", "row 1 holds 5 twice"),
        ({"task": "arc", "puzzle": [[1]]}, 422, "bad-request", "/puzzle_id", "needs the puzzle_id"),
        ({"task": "arc", "puzzle": [[1]], "puzzle_id": "zzz"}, 422, "bad-request", "/puzzle_id", "not trained on"),
    ],
)
async def test_what_is_wrong_is_named(
    unconnected: httpx.AsyncClient, body: Any, status: int, kind: str, pointer: str | None, detail: str
) -> None:
    text = body if isinstance(body, str) else json.dumps({"task": "sudoku", **body})
    response = await unconnected.post("/solve", content=text.encode(errors="surrogateescape"))
    said = problem(response)
    assert (said["status"], said["type"], said.get("pointer")) == (status, f"urn:hrm:problem:{kind}", pointer)
    assert detail in said["detail"]


async def test_several_faults_are_all_listed(unconnected: httpx.AsyncClient) -> None:
    said = problem(await unconnected.post("/solve", json={"puzzle": PUZZLE, "trace": 1, "surprise": 2}))
    assert [fault["pointer"] for fault in said["errors"]] == ["/trace", "/surprise"]


def full(start: str, item: str, end: str) -> bytes:
    """A body as large as one may be, of as many items as fit in."""
    body = (start + ",".join([item] * (((1 << 20) - len(start) - len(end) + 1) // (len(item) + 1))) + end).encode()
    assert (1 << 20) - 16 <= len(body) <= 1 << 20
    return body


UNKNOWN = ",".join(f'"{n:x}":1' for n in range(100_000))


@pytest.mark.parametrize("path", ["/solve", "/jobs"])
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (full('{"puzzle":[', "1", "]}"), "/puzzle/0"),
        (full('{"puzzle":[', "[[]]", "]}"), "/puzzle/0/0"),
        (full('{"puzzle":[[', "null", "]]}"), "/puzzle/0/0"),
        (f'{{"puzzle":"1",{UNKNOWN}}}'.encode(), ""),
    ],
    ids=["rows", "rows of rows", "cells", "unknown fields"],
)
async def test_half_a_million_faults_cost_little(
    unconnected: httpx.AsyncClient, path: str, body: bytes, pointer: str
) -> None:
    """Everybody else waits while a body is looked at."""
    tracemalloc.start()
    try:
        said = problem(await unconnected.post(path, content=body))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (said["status"], said["pointer"], said.get("errors")) == (422, pointer, None)
    assert peak < 40e6  # all faults: 53 to 300e6


async def test_a_large_body_is_refused_whatever_its_header_says(api: Api) -> None:
    async def chunks() -> Any:
        for _ in range(32):
            yield b" " * 65536

    for response in (
        await api.http.post("/solve", content=b" " * ((1 << 20) + 1)),
        await api.http.post("/solve", content=chunks()),
    ):
        assert problem(response)["type"] == "urn:hrm:problem:body-too-large"
        assert response.status_code == 413


@pytest.mark.parametrize("hang_up", [True, False])
async def test_a_body_that_never_comes_holds_nothing_up(
    serve_api: ServeApi, worker: ScriptedWorker, hang_up: bool
) -> None:
    api = await serve_api(body_timeout_s=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(api.url).port)
    writer.write(b"POST /solve HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    if not hang_up:
        assert b"408 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert (await api.solve(puzzle=PUZZLE)).status_code == 200


async def test_promise_2_a_full_queue_refuses_at_once(serve_api: ServeApi) -> None:
    api = await serve_api(queue_limit=2)
    waiting = [asyncio.create_task(api.solve(puzzle=PUZZLE, timeout_s=20)) for _ in range(2)]
    await api.until_waiting(2)
    response = await api.solve(puzzle=PUZZLE)
    assert problem(response)["type"] == "urn:hrm:problem:queue-full"
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert await api.waiting() == 2
    for request in waiting:
        request.cancel()


async def test_nobody_answers_within_the_deadline(api: Api) -> None:
    said = problem(await api.solve(puzzle=PUZZLE, timeout_s=0.2))
    assert (said["status"], said["type"]) == (504, "urn:hrm:problem:deadline")


async def test_a_deadline_in_the_slot_shows_the_best_answer_so_far(api: Api, worker: ScriptedWorker) -> None:
    worker.script = lambda claim: failed(ProblemKind.DEADLINE, answer=answer(claim, valid=False))(claim)
    said = problem(await api.solve(puzzle=PUZZLE))
    assert (said["status"], said["answer"]["valid"]) == (504, False)


async def test_an_altered_result_is_an_error_of_its_request_alone(api: Api, worker: ScriptedWorker) -> None:
    for payload in (
        b"not json",
        b"{}",
        b'{"checkpoint": "a\\nb", "segments": 1, "timing": {"queue_s": 0, "solve_s": 0}}',
    ):
        for state in (JobState.DONE, JobState.FAILED):
            worker.script = lambda claim, ends=(state, payload): Finished(claim.id, claim.fence, *ends)
            assert "cannot be read" in problem(await api.solve(puzzle=PUZZLE))["detail"]
    worker.script = solved
    assert (await api.solve(puzzle=PUZZLE)).status_code == 200


async def test_a_cancelled_job_says_so(api: Api, worker: ScriptedWorker) -> None:
    worker.script = held
    request = asyncio.create_task(api.solve(puzzle=PUZZLE))
    await until(lambda: worker.held)
    await api.http.delete(f"/jobs/{worker.held[0].id}")
    assert problem(await request)["type"] == "urn:hrm:problem:cancelled"


async def test_hanging_up_cancels(api: Api, worker: ScriptedWorker) -> None:
    worker.script = held
    request = asyncio.create_task(api.solve(puzzle=PUZZLE))
    await until(lambda: worker.held)
    request.cancel()
    await until(lambda: worker.cancelled)
    assert worker.cancelled == [worker.seen[0].id]


async def test_hanging_up_with_an_idempotency_key_does_not_cancel(api: Api, worker: ScriptedWorker) -> None:
    worker.script = held
    headers = {"Idempotency-Key": "once"}
    body = {"task": "sudoku", "puzzle": PUZZLE}
    request = asyncio.create_task(api.http.post("/solve", json=body, headers=headers))
    await until(lambda: worker.held)
    request.cancel()
    await asyncio.wait([request])
    assert len(worker.held) == 1

    running = await api.http.post("/solve", json=body, headers=headers)
    assert problem(running)["type"] == "urn:hrm:problem:still-running"
    assert "Retry-After" in running.headers

    worker.script = solved
    await until(lambda: not worker.held)
    first, second = [await api.http.post("/solve", json=body, headers=headers) for _ in range(2)]
    assert first.status_code == 200
    assert first.content == second.content
    assert len(worker.seen) == 1


async def test_an_idempotency_key_belongs_to_one_body_and_one_path(api: Api, worker: ScriptedWorker) -> None:
    headers = {"Idempotency-Key": "once"}
    await api.http.post("/solve", json={"task": "sudoku", "puzzle": PUZZLE}, headers=headers)
    for path, puzzle in (("/solve", GRID), ("/jobs", PUZZLE)):
        response = await api.http.post(path, json={"task": "sudoku", "puzzle": puzzle}, headers=headers)
        assert problem(response)["type"] == "urn:hrm:problem:idempotency-key-reused"
    response = await api.http.post(
        "/solve", json={"task": "sudoku", "puzzle": PUZZLE}, headers={"Idempotency-Key": 256 * "k"}
    )
    assert problem(response)["status"] == 422
