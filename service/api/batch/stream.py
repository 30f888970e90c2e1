"""The life of a batch: its puzzles enter the queue one after the other, its lines leave as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress

from fastapi import Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from service.api.batch.schemas import BatchRequest
from service.api.desk import Desk
from service.api.disconnect import unless_gone
from service.api.errors import ApiError, invalid_body
from service.api.intake import Intake, Terms
from service.api.outcome import answer_json, problem_json
from service.broker.records import JobState, NewJob, Receipt
from service.schemas import SolveRequest

WINDOW = 256
"""Puzzles of one batch that may be in the queue at a time: enough to fill slots, few enough to leave others room."""


class Batch:
    """One request's puzzles.

    Args:
        desk: Where they are handed in.
        jobs: Makes the puzzles' jobs one by one, or the errors that they are.
        keep: Whether the jobs go on when nobody waits for them any more.
    """

    def __init__(self, desk: Desk, jobs: Iterator[NewJob | ApiError], *, keep: bool) -> None:
        self._desk = desk
        self._jobs = enumerate(jobs)
        self._keep = keep
        self._places = asyncio.Semaphore(WINDOW)
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._first: tuple[int, NewJob, Receipt] | None = None

    async def start(self) -> None:
        """Hand the first good puzzle in; raises ApiError where the queue takes none."""
        for index, job in self._jobs:
            if isinstance(job, ApiError):
                await self._refuse(index, job)
            else:
                self._first = index, job, await self._desk.admit(job)
                return

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines as the puzzles end. Closing this cancels what has not ended."""
        feeding = asyncio.create_task(self._feed())
        try:
            while (line := await self._lines.get()) is not None:
                yield line
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _feed(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                if self._first:
                    await self._places.acquire()
                    group.create_task(self._end(*self._first))
                for index, job in self._jobs:
                    if isinstance(job, ApiError):
                        await self._refuse(index, job)
                        continue
                    await self._places.acquire()
                    try:
                        receipt = await self._desk.admit(job, patience_s=job.timeout_s)
                    except ApiError as error:
                        self._places.release()
                        await self._refuse(index, error)
                    else:
                        group.create_task(self._end(index, job, receipt))
        finally:
            self._lines.put_nowait(None)

    async def _refuse(self, index: int, error: ApiError) -> None:
        self._lines.put_nowait(_error_line(index, error))
        await asyncio.sleep(0)  # a thousand bad puzzles in a row must not hold up everybody else

    async def _end(self, index: int, job: NewJob, receipt: Receipt) -> None:
        try:
            ending = await self._desk.ending(receipt.job_id, job.timeout_s, keep=self._keep)
            if ending.state is JobState.DONE:
                line = _line(index, b"answer", answer_json(ending))
            else:
                line = _line(index, b"error", problem_json(ending)[0])
        except ApiError as error:
            line = _error_line(index, error)
        finally:
            self._places.release()
        self._lines.put_nowait(line)


class LineStream(Response):
    """A response of lines, given up when the client hangs up."""

    media_type = "application/x-ndjson"

    def __init__(self, lines: Callable[[], AsyncIterator[bytes]]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._make_lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with suppress(ClientDisconnect):
            await unless_gone(receive, self._send_lines(send))

    async def _send_lines(self, send: Send) -> None:
        async with aclosing(self._make_lines()) as lines:  # type: ignore[type-var]
            async for line in lines:
                await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def joined(lines: AsyncIterator[bytes]) -> bytes:
    """All lines, for who cannot read a stream."""
    async with aclosing(lines):  # type: ignore[type-var]
        return b"".join([line async for line in lines])


def jobs_of(batch: BatchRequest, intake: Intake, terms: Terms) -> Iterator[NewJob | ApiError]:
    """The batch's items as jobs, in order, each made when it is asked for."""
    options = batch.model_dump(exclude={"puzzles"}, exclude_unset=True)
    for index, item in enumerate(batch.puzzles):
        here = f"/puzzles/{index}"
        own, within, puzzle_at = (
            (item, here, f"{here}/puzzle") if isinstance(item, dict) else ({"puzzle": item}, "", here)
        )
        try:
            request = SolveRequest.model_validate(options | own)
            yield intake.job(request, terms, within=within, puzzle_at=puzzle_at, place=str(index))
        except ValidationError as error:
            yield invalid_body(error, within, puzzle_at)
        except ApiError as error:
            yield error


def _error_line(index: int, error: ApiError) -> bytes:
    return _line(index, b"error", error.problem.model_dump_json(exclude_none=True).encode())


def _line(index: int, name: bytes, payload: bytes) -> bytes:
    # A payload is one line of JSON already, but for one that somebody altered: white space is all a newline can be.
    return b'{"index":%d,"%b":%b}\n' % (index, name, payload.replace(b"\n", b" "))
