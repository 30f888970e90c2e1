"""The Python client of the service: `AsyncClient`, and `Client` that drives it from plain code.

    with Client("http://127.0.0.1:8000") as client:
        answer = client.solve("53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79")
        print(answer.solution, answer.valid, answer.segments)

Every POST carries one Idempotency-Key over all its attempts, so that trying again never solves a puzzle twice.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import aclosing
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from service.client_errors import (
    BusyError,
    DeadlineError,
    JobEndedError,
    RequestError,
    ServiceError,
    error_of_problem,
    error_of_response,
)
from service.schemas import Answer, Problem, Puzzle, SolveRequest, TaskInfo

__all__ = [
    "AsyncClient",
    "BusyError",
    "Client",
    "DeadlineError",
    "JobEndedError",
    "RequestError",
    "ServiceError",
]

T = TypeVar("T")
Outcome = Answer | ServiceError
Progress = Callable[[int], None]

_TASKS = TypeAdapter(list[TaskInfo])
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_READ_TIMEOUT_S = 300.0
_LOOK_AHEAD = 4
"""How many times `concurrency` answers may wait behind a slower one that has to be given first."""


class AsyncClient:
    """Talks to one server; safe to use from many tasks at once.

    Args:
        url: Where the server is.
        api_key: Sent as a bearer token.
        patience_s: How long to go on trying once the server is busy, restarting or away (0: ask once).
        transport: How httpx sends (for tests).
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        patience_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            timeout=httpx.Timeout(_READ_TIMEOUT_S, connect=5.0),
            limits=httpx.Limits(max_connections=None),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def solve(self, puzzle: Puzzle | SolveRequest, **options: Any) -> Answer:
        """Solve one puzzle.

        Args:
            puzzle: Text, a grid, or a whole request.
            options: The fields of SolveRequest (task, max_segments, mode, trace, timeout_s, ...).

        Raises:
            RequestError: The server refuses the request, for instance a bad puzzle.
            BusyError: It stayed busy or away for longer than `patience_s`.
            DeadlineError: The request's own deadline passed; `best` is what was found so far.
            JobEndedError: Somebody cancelled it.
            ServiceError: The server failed at it.
        """
        return Answer.model_validate_json((await self._post("/solve", puzzle, options)).content, extra="ignore")

    async def solve_many(
        self,
        puzzles: Iterable[Puzzle | SolveRequest],
        *,
        concurrency: int = 64,
        progress: Progress | None = None,
        **options: Any,
    ) -> AsyncGenerator[Outcome, None]:
        """Solve many, at most `concurrency` at a time; yields in the order of `puzzles`.

        What fails is yielded as its error, so that one bad puzzle does not stop the others. `progress` is called with
        the number that are done, in whatever order they end.
        """
        places, done = asyncio.Semaphore(concurrency), 0

        async def outcome(puzzle: Puzzle | SolveRequest) -> Outcome:
            nonlocal done
            async with places:
                try:
                    return await self.solve(puzzle, **options)
                except ServiceError as error:
                    return error
                finally:
                    done += 1
                    if progress:
                        progress(done)

        waiting: deque[asyncio.Task[Outcome]] = deque()
        try:
            for puzzle in puzzles:
                waiting.append(asyncio.create_task(outcome(puzzle)))
                if len(waiting) >= concurrency * _LOOK_AHEAD:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()

    async def submit(self, puzzle: Puzzle | SolveRequest, **options: Any) -> str:
        """Queue a puzzle as a job and return its id; takes what `solve` takes, raises RequestError or BusyError."""
        response = await self._post("/jobs", puzzle, options)
        return str(response.json()["id"])

    async def wait(self, job_id: str, timeout_s: float | None = None) -> Answer:
        """The answer of a job, when it ends.

        Raises:
            TimeoutError: `timeout_s` passed; the job goes on.
            JobEndedError: It was cancelled.
            DeadlineError: It failed because its deadline passed; `best` is what was found so far.
            ServiceError: It failed otherwise, or was given up.
            RequestError: There is no such job.
            BusyError: The server stayed busy or away for longer than `patience_s`.
        """
        pauses = _pauses()
        async with asyncio.timeout(timeout_s):
            while True:
                job = (await self._exchange("GET", f"/jobs/{job_id}")).json()
                if job.get("answer"):
                    return Answer.model_validate(job["answer"], extra="ignore")
                if job.get("error"):
                    raise error_of_problem(Problem.model_validate(job["error"]))
                if job["state"] not in ("queued", "running"):
                    raise JobEndedError(f"job {job_id} is {job['state']}")
                await asyncio.sleep(next(pauses))

    async def cancel(self, job_id: str) -> None:
        """Cancel a job; one that has ended stays as it is. Raises RequestError where there is no such job."""
        await self._exchange("DELETE", f"/jobs/{job_id}")

    async def tasks(self) -> list[TaskInfo]:
        """The tasks that the server knows; raises RequestError or BusyError."""
        return _TASKS.validate_json((await self._exchange("GET", "/tasks")).content)

    async def _post(self, path: str, puzzle: Puzzle | SolveRequest, options: dict[str, Any]) -> httpx.Response:
        fields = puzzle.model_dump() if isinstance(puzzle, SolveRequest) else {"puzzle": puzzle}
        request = SolveRequest.model_validate(fields | options)
        try:
            body = request.model_dump_json(exclude_defaults=True).encode()
        except PydanticSerializationError:  # half a character, such as undecodable bytes become in Python
            raise RequestError("the request cannot be written as UTF-8") from None
        return await self._exchange("POST", path, body, {"Idempotency-Key": str(uuid.uuid4())})

    async def _exchange(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Ask until there is an answer that asking again would not change, or patience ends."""
        give_up: float | None = None
        headers = (headers or {}) | ({"Content-Type": "application/json"} if body else {})
        for pause in _pauses():
            try:
                response = await self._http.request(method, path, content=body, headers=headers)
                if response.is_success:
                    return response
                error = error_of_response(response)
            except httpx.TransportError as failure:
                error = BusyError(f"no answer from {self._http.base_url}: {failure or type(failure).__name__}")
            if not isinstance(error, BusyError):
                raise error
            # From the first refusal on: what came before it was a place in the queue.
            give_up = give_up or time.monotonic() + self._patience_s
            wait = max(pause, error.retry_after or 0.0)
            if time.monotonic() + wait > give_up:
                raise error
            await asyncio.sleep(wait)
        raise AssertionError("the pauses never end")


class Client:
    """`AsyncClient` for code without an event loop, notebooks included; safe to use from many threads.

    Takes the same arguments; every method does what its namesake there does.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", **options: Any) -> None:
        self._client = AsyncClient(url, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hrm-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up what still runs, close the connections and end the thread; closing twice is fine."""

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._client.close()

        if not self._loop.is_closed():
            self._run(end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def solve(self, puzzle: Puzzle | SolveRequest, **options: Any) -> Answer:
        """See `AsyncClient.solve`."""
        return self._run(self._client.solve(puzzle, **options))

    def solve_many(self, puzzles: Iterable[Puzzle | SolveRequest], **options: Any) -> Generator[Outcome, None, None]:
        """See `AsyncClient.solve_many`; `progress` is called from another thread."""
        results: SimpleQueue[Outcome | None] = SimpleQueue()

        async def pump() -> None:
            async with aclosing(self._client.solve_many(puzzles, **options)) as outcomes:
                async for outcome in outcomes:
                    results.put(outcome)

        pumping = asyncio.run_coroutine_threadsafe(pump(), self._loop)
        pumping.add_done_callback(lambda _: results.put(None))
        try:
            while (outcome := results.get()) is not None:
                yield outcome
            pumping.result()  # raises what is wrong with the puzzles or the options themselves
        finally:
            pumping.cancel()

    def submit(self, puzzle: Puzzle | SolveRequest, **options: Any) -> str:
        """See `AsyncClient.submit`."""
        return self._run(self._client.submit(puzzle, **options))

    def wait(self, job_id: str, timeout_s: float | None = None) -> Answer:
        """See `AsyncClient.wait`."""
        return self._run(self._client.wait(job_id, timeout_s))

    def cancel(self, job_id: str) -> None:
        """See `AsyncClient.cancel`."""
        self._run(self._client.cancel(job_id))

    def tasks(self) -> list[TaskInfo]:
        """See `AsyncClient.tasks`."""
        return self._run(self._client.tasks())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # where Ctrl-C ended the wait; it does nothing to what is done


def _pauses() -> Iterator[float]:
    """Seconds between two attempts: doubling up to a limit, blurred so that many clients do not come back at once."""
    pause = _FIRST_PAUSE_S
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
