"""`POST /solve/batch`: a line for each puzzle, as it ends."""

import asyncio
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest

from service.broker.records import Claim, Finished
from service.problems import ProblemKind
from tests.conftest import PUZZLE
from tests.service.api.conftest import Api, ServeApi, problem, until
from tests.service.api.scripted import SOLUTION, ScriptedWorker, failed, held, solved
from tests.service.broker.broker_lab import Desk


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    """The lines by index."""
    assert response.headers["Content-Type"] == "application/x-ndjson"
    found = [json.loads(line) for line in response.text.splitlines()]
    return sorted(found, key=lambda line: line["index"])


async def batch(api: Api, puzzles: list[Any], **options: Any) -> httpx.Response:
    return await api.http.post("/solve/batch", json={"task": "sudoku", "puzzles": puzzles, **options})


async def test_every_puzzle_gets_its_line(api: Api, worker: ScriptedWorker) -> None:
    found = lines(await batch(api, [PUZZLE] * 300, max_segments=8))
    assert [line["index"] for line in found] == list(range(300))
    assert {line["answer"]["solution"] for line in found} == {SOLUTION}
    assert {json.loads(claim.request)["max_segments"] for claim in worker.seen} == {8}


async def test_a_bad_puzzle_spoils_its_own_line_only(api: Api, worker: ScriptedWorker) -> None:
    puzzles = [
        PUZZLE,
        PUZZLE[1:],
        {"puzzle": "x" + PUZZLE[1:]},
        5,
        [[1, "a"]],
        {"puzzle": PUZZLE, "max_segments": 999},
        {"puzzle": PUZZLE, "task": "chess"},
        {"puzzle": PUZZLE, "priority": "high"},
    ]
    found = lines(await batch(api, puzzles))
    assert [line["index"] for line in found if "answer" in line] == [0, 7]
    assert [line["error"]["pointer"] for line in found if "error" in line] == [
        "/puzzles/1",
        "/puzzles/2/puzzle/0",
        "/puzzles/3",
        "/puzzles/4/0/1",
        "/puzzles/5/max_segments",
        "/puzzles/6/task",
    ]
    assert {claim.lane for claim in worker.seen} == {"normal", "high"}


@pytest.mark.parametrize(
    ("item", "pointer"),
    [
        ([[None] * 200_000], "/puzzles/0/0/0"),
        ([1] * 350_000, "/puzzles/0/0"),
        ({f"{n:x}": 1 for n in range(90_000)}, "/puzzles/0"),
    ],
    ids=["cells", "rows", "unknown fields"],
)
async def test_an_item_of_many_faults_costs_little(unconnected: httpx.AsyncClient, item: Any, pointer: str) -> None:
    body = json.dumps({"task": "sudoku", "puzzles": [item]}, separators=(",", ":"))
    assert len(body) < 1 << 20
    tracemalloc.start()
    try:
        response = await unconnected.post("/solve/batch", content=body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (line,) = lines(response)
    assert (line["error"]["status"], line["error"]["pointer"]) == (422, pointer)
    assert peak < 40e6  # all faults: 53 to 300e6


async def test_lines_come_as_puzzles_end(api: Api, worker: ScriptedWorker) -> None:
    worker.script = held
    body = {"task": "sudoku", "puzzles": [PUZZLE, PUZZLE]}
    async with api.http.stream("POST", "/solve/batch", json=body) as response:
        stream = response.aiter_lines()
        await until(lambda: len(worker.held) == 2)
        second = worker.held[1].id
        worker.script = lambda claim: solved(claim) if claim.id == second else None
        assert json.loads(await anext(stream))["index"] == 1
        worker.script = solved
        assert json.loads(await anext(stream))["index"] == 0


async def test_a_batch_larger_than_the_queue_waits_for_room(serve_api: ServeApi, worker: ScriptedWorker) -> None:
    api = await serve_api(queue_limit=8)
    found = lines(await batch(api, [PUZZLE] * 100))
    assert len([line for line in found if "answer" in line]) == 100


async def test_a_full_queue_refuses_before_the_first_byte(serve_api: ServeApi) -> None:
    api = await serve_api(queue_limit=1)
    first = asyncio.create_task(api.solve(puzzle=PUZZLE))
    await api.until_waiting(1)
    response = await batch(api, ["bad", PUZZLE])
    assert problem(response)["type"] == "urn:hrm:problem:queue-full"
    first.cancel()


async def test_a_puzzle_that_fails_is_a_line(api: Api, worker: ScriptedWorker) -> None:
    def script(claim: Claim) -> Finished | None:
        return (solved if claim.id == worker.seen[0].id else failed(ProblemKind.DEADLINE))(claim)

    worker.script = script
    found = lines(await batch(api, [PUZZLE, PUZZLE]))
    assert ("answer" in found[0], found[1]["error"]["status"]) == (True, 504)


async def test_hanging_up_cancels_all_that_is_left(api: Api, worker: ScriptedWorker) -> None:
    worker.script = held
    request = asyncio.create_task(batch(api, [PUZZLE] * 80))
    await until(lambda: len(worker.held) == 64)
    request.cancel()
    await until(lambda: not worker.held)
    await api.until_waiting(0)
    assert len(worker.cancelled) == 64


async def test_hanging_up_while_puzzles_are_handed_in_leaves_none_behind(
    api: Api, make_worker: Callable[..., ScriptedWorker]
) -> None:
    request = asyncio.create_task(batch(api, [PUZZLE] * 250))
    async with asyncio.timeout(10):
        while await api.waiting() < 20:
            pass
    request.cancel()
    ended = 'code="200",method="POST",route="/solve/batch"} 1.0'
    await until(lambda: ended in api.context.metrics.render().decode())  # from here on none is handed in
    worker = make_worker()
    worker.script = held
    worker.start()
    await api.until_waiting(0)
    await until(lambda: not worker.held)
    with closing(Desk(api.config)) as desk:
        states = Counter(desk.redis.hget(key, "state") for key in desk.redis.scan_iter(desk.keys.job("*"), count=1000))
    assert states.keys() == {"cancelled"}, states


async def test_a_repeated_batch_gets_the_first_ones_answers(api: Api, worker: ScriptedWorker) -> None:
    body = {"task": "sudoku", "puzzles": [PUZZLE, PUZZLE]}
    first, second = [
        lines(await api.http.post("/solve/batch", json=body, headers={"Idempotency-Key": "once"})) for _ in range(2)
    ]
    assert first == second
    assert len(worker.seen) == 2


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        (("/solve", {"puzzle": PUZZLE}, "k"), ("/solve/batch", {"puzzles": [PUZZLE]}, "k"), True),
        (("/solve/batch", {"puzzles": [PUZZLE]}, "k"), ("/solve", {"puzzle": PUZZLE}, "k"), True),
        (("/solve/batch", {"puzzles": ["bad", PUZZLE]}, "k"), ("/solve/batch", {"puzzles": [PUZZLE]}, "k"), True),
        (("/solve", {"puzzle": PUZZLE}, "k/0"), ("/solve/batch", {"puzzles": [PUZZLE]}, "k"), False),
    ],
    ids=["one then many", "many then one", "many after a bad first", "a key that looks like another's place"],
)
async def test_an_idempotency_key_belongs_to_one_batch(
    api: Api, worker: ScriptedWorker, first: Any, second: Any, refused: bool
) -> None:
    def post(path: str, body: dict[str, Any], key: str) -> Any:
        return api.http.post(path, json={"task": "sudoku", **body}, headers={"Idempotency-Key": key})

    assert (await post(*first)).status_code == 200
    response = await post(*second)
    if refused:
        assert problem(response)["type"] == "urn:hrm:problem:idempotency-key-reused"
    else:
        assert lines(response)[0]["answer"]["solution"] == SOLUTION


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"puzzles": []}, "/puzzles"),
        ({"puzzles": [PUZZLE] * 1001}, "/puzzles"),
        ({"puzzles": PUZZLE}, "/puzzles"),
        ({"puzzles": [PUZZLE], "max_segments": 0}, "/max_segments"),
        ({"puzzle": PUZZLE}, "/puzzles"),
    ],
)
async def test_a_bad_batch_is_refused_whole(unconnected: httpx.AsyncClient, body: Any, pointer: str) -> None:
    said = problem(await unconnected.post("/solve/batch", json={"task": "sudoku", **body}))
    assert (said["status"], said["pointer"]) == (422, pointer)
