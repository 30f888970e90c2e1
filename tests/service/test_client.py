"""The client against a scripted server: what it sends, when it asks again, what it gives and raises."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from service.client import AsyncClient, BusyError, Client, DeadlineError, JobEndedError, RequestError, ServiceError
from service.schemas import Answer, SolveRequest

ANSWER: dict[str, Any] = {
    "id": "1",
    "task": "sudoku",
    "checkpoint": "sudoku/1",
    "solution": "1",
    "valid": True,
    "halted_by": "act",
    "segments": 3,
    "total_segments": 3,
    "confidence": 0.9,
    "q_halt": 4.0,
    "q_continue": -3.0,
    "timing": {"queue_s": 0.001, "solve_s": 0.02},
}
Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]


def problem(status: int, **more: Any) -> dict[str, Any]:
    return {"type": f"/problems/{status}", "title": "No", "status": status, "detail": f"because of {status}"} | more


class Server(httpx.AsyncBaseTransport):
    """Gives the replies of a script one after the other (an exception is raised), the last one for ever."""

    def __init__(self, *script: Reply | Exception | Callable[[httpx.Request], Reply]) -> None:
        self.script = list(script)
        self.requests: list[httpx.Request] = []
        self.running = self.most = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(reply, Exception):
            raise reply
        status, body, *headers = reply(request) if callable(reply) else reply
        return httpx.Response(status, json=body, headers=headers[0] if headers else None, request=request)


def puzzle_of(request: httpx.Request) -> str:
    return str(json.loads(request.content)["puzzle"])


def echo(request: httpx.Request) -> Reply:
    """Solves "7" with "7"; "bad" is refused."""
    puzzle = puzzle_of(request)
    return (422, problem(422, pointer="/puzzle")) if puzzle == "bad" else (200, ANSWER | {"solution": puzzle})


@pytest.fixture(params=["async", "plain"])
def ask(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Call one method of either client on a scripted server."""

    def ask(server: Server, method: str, *args: Any, patience_s: float = 60.0, **options: Any) -> Any:
        if request.param == "plain":
            with Client(transport=server, patience_s=patience_s) as client:
                return getattr(client, method)(*args, **options)

        async def main() -> Any:
            async with AsyncClient(transport=server, patience_s=patience_s) as client:
                return await getattr(client, method)(*args, **options)

        return asyncio.run(main())

    return ask


def test_solve_gives_a_typed_answer_and_sends_what_was_asked(ask: Callable[..., Any]) -> None:
    server = Server((200, ANSWER))
    answer = ask(server, "solve", "53..", task="sudoku", max_segments=4)
    assert isinstance(answer, Answer)
    assert answer.segments == 3
    assert json.loads(server.requests[0].content) == {"task": "sudoku", "puzzle": "53..", "max_segments": 4}


def test_a_whole_request_can_be_sent_and_changed(ask: Callable[..., Any]) -> None:
    server = Server((200, ANSWER))
    ask(server, "solve", SolveRequest(task="sudoku", puzzle=[[1]]), trace=True)
    assert json.loads(server.requests[0].content) == {"task": "sudoku", "puzzle": [[1]], "trace": True}


@pytest.mark.parametrize(
    "trouble",
    [(503, problem(503)), (429, problem(429)), (409, problem(409)), httpx.ConnectError("refused"), httpx.ReadError("")],
    ids=["full", "quota", "still running", "away", "cut off"],
)
def test_trouble_that_passes_is_asked_again_with_the_same_key(ask: Callable[..., Any], trouble: Any) -> None:
    server = Server(trouble, trouble, (200, ANSWER))
    assert ask(server, "solve", "53..").segments == 3
    keys = {r.headers["Idempotency-Key"] for r in server.requests}
    assert (len(server.requests), len(keys)) == (3, 1)


def test_retry_after_is_honoured(ask: Callable[..., Any]) -> None:
    server = Server((503, problem(503), {"Retry-After": "1"}), (200, ANSWER))
    start = time.monotonic()
    ask(server, "solve", "53..")
    assert time.monotonic() - start >= 1.0


def test_patience_ends(ask: Callable[..., Any]) -> None:
    with pytest.raises(BusyError, match="because of 503") as caught:
        ask(Server((503, problem(503), {"Retry-After": "30"})), "solve", "53..", patience_s=1.0)
    assert (caught.value.status, caught.value.retry_after, caught.value.type) == (503, 30.0, "/problems/503")
    with pytest.raises(BusyError, match=r"no answer from http://127\.0\.0\.1:8000"):
        ask(Server(httpx.ConnectError("refused")), "solve", "53..", patience_s=0.3)


def test_patience_begins_with_the_first_refusal_and_not_with_the_request(ask: Callable[..., Any]) -> None:
    def waits_in_the_queue_and_is_turned_away(_: httpx.Request) -> Reply:
        time.sleep(0.6)
        return 503, problem(503)

    server = Server(waits_in_the_queue_and_is_turned_away, (200, ANSWER))
    assert ask(server, "solve", "53..", patience_s=0.5).segments == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_refused_request_is_not_asked_again(ask: Callable[..., Any], status: int) -> None:
    server = Server((status, problem(status, pointer="/puzzle/3")))
    with pytest.raises(RequestError, match=f"because of {status}") as caught:
        ask(server, "solve", "53..")
    assert (len(server.requests), caught.value.pointer) == (1, "/puzzle/3")


def test_a_passed_deadline_carries_the_best_answer_so_far(ask: Callable[..., Any]) -> None:
    with pytest.raises(DeadlineError) as caught:
        ask(Server((504, problem(504, answer=ANSWER))), "solve", "53..")
    assert caught.value.best is not None
    assert caught.value.best.solution == "1"


def test_an_error_that_is_no_problem_json_still_has_a_detail(ask: Callable[..., Any]) -> None:
    with pytest.raises(ServiceError, match="<h1>Bad gateway") as caught:
        ask(Server((500, "<h1>Bad gateway</h1>")), "solve", "53..")
    assert caught.value.status == 500


def test_a_wrong_option_is_named_before_anything_is_sent(ask: Callable[..., Any]) -> None:
    server = Server((200, ANSWER))
    with pytest.raises(ValidationError, match="max_segment"):
        ask(server, "solve", "53..", max_segment=3)
    assert server.requests == []


def test_many_keep_their_order_and_one_bad_puzzle_spoils_only_itself() -> None:
    puzzles = [str(i) if i != 7 else "bad" for i in range(300)]
    server, done = Server(echo), []
    with Client(transport=server) as client:
        outcomes = list(client.solve_many(puzzles, concurrency=8, progress=done.append))
    assert isinstance(outcomes[7], RequestError)
    assert [o.solution for o in outcomes if isinstance(o, Answer)] == [p for p in puzzles if p != "bad"]
    assert done == list(range(1, 301))
    assert 1 < server.most <= 8


async def test_many_without_a_thread() -> None:
    async with AsyncClient(transport=Server(echo)) as client:
        answers = [answer async for answer in client.solve_many("123")]
    assert [a.solution for a in answers if isinstance(a, Answer)] == ["1", "2", "3"]


def test_leaving_many_early_stops_the_rest() -> None:
    server = Server(echo)
    with Client(transport=server) as client:
        outcomes = client.solve_many([str(i) for i in range(10_000)], concurrency=4)
        next(outcomes)
        outcomes.close()
    assert len(server.requests) < 10_000


def test_what_is_wrong_with_the_options_of_many_is_raised() -> None:
    with Client(transport=Server(echo)) as client, pytest.raises(ValidationError, match="max_segment"):
        list(client.solve_many(["1"], max_segment=3))


async def test_the_plain_client_works_where_a_loop_already_runs() -> None:
    with Client(transport=Server((200, ANSWER))) as client:
        assert client.solve("53..").valid


def test_a_job_is_submitted_and_waited_for(ask: Callable[..., Any]) -> None:
    server = Server((202, {"id": "7"}))
    assert ask(server, "submit", "53..") == "7"
    job = {"id": "7", "task": "sudoku"}
    server = Server((200, job | {"state": "queued"}), (200, job | {"state": "done", "answer": ANSWER}))
    assert ask(server, "wait", "7").segments == 3
    assert {r.url.path for r in server.requests} == {"/jobs/7"}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((200, {"id": "7", "state": "cancelled"}), JobEndedError),
        ((200, {"id": "7", "state": "failed", "error": problem(504)}), DeadlineError),
        ((200, {"id": "7", "state": "dead", "error": problem(500)}), ServiceError),
        ((404, problem(404)), RequestError),
    ],
    ids=["cancelled", "failed", "given up", "unknown"],
)
def test_a_job_without_an_answer_is_an_error(ask: Callable[..., Any], reply: Reply, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        ask(Server(reply), "wait", "7")
    assert type(caught.value) is error


def test_waiting_ends_after_its_timeout_and_the_job_can_be_cancelled(ask: Callable[..., Any]) -> None:
    with pytest.raises(TimeoutError):
        ask(Server((200, {"id": "7", "state": "running"})), "wait", "7", timeout_s=0.1)
    server = Server((200, {"id": "7", "state": "cancelled"}))
    ask(server, "cancel", "7")
    assert [(r.method, r.url.path) for r in server.requests] == [("DELETE", "/jobs/7")]
