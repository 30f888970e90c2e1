"""HTTP/1 at the level of bytes: what uvicorn leaves open, and the service does not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from service.api import protocol
from tests.conftest import ANSWER, PUZZLE
from tests.service.api.conftest import Api, until
from tests.service.api.scripted import ScriptedWorker, held, solved

BODY = json.dumps({"task": "sudoku", "puzzle": PUZZLE}).encode()
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"


def request(*headers: bytes, body: bytes = BODY, target: bytes = b"/solve") -> bytes:
    """A POST with its length."""
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b%b\r\n%b" % (target, length, b"".join(headers), body)


def chunked(*headers: bytes, size: int = 7) -> bytes:
    """The same in chunks of so many bytes."""
    parts = [BODY[at : at + size] for at in range(0, len(BODY), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = b"POST /solve HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + b"".join(headers)
    return head + b"\r\n" + chunks + b"0\r\n\r\n"


class Connection:
    """A client that sends bytes, and reads the responses that have a length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def response(self) -> httpx.Response:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = httpx.Headers([tuple(line.split(": ", 1)) for line in lines])
        body = await self.reader.readexactly(int(headers["Content-Length"]))
        return httpx.Response(int(status.split()[1]), headers=headers, content=body)

    async def exchange(self, sent: bytes) -> httpx.Response:
        self.writer.write(sent)
        return await self.response()

    async def ended(self) -> bool:
        """The server closed it, and sent nothing more."""
        return await self.reader.read() == b""


Connect = Callable[[], Awaitable[Connection]]


@pytest.fixture
async def connect(api: Api) -> AsyncIterator[Connect]:
    """Opens connections, every step of which has ten seconds."""
    writers = []

    async def opened() -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(api.url).port)
        writers.append(writer)
        return Connection(reader, writer)

    async with asyncio.timeout(20):
        yield opened
    for writer in writers:
        writer.close()


def refused(response: httpx.Response) -> tuple[str, bool]:
    """What it was refused as, and whether the server said that it hangs up."""
    body: dict[str, Any] = response.json()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert body["status"] == response.status_code
    return body["type"].removeprefix("urn:hrm:problem:"), response.headers.get("Connection") == "close"


@pytest.mark.parametrize("sent", [request(H2C), chunked(H2C)], ids=["length", "chunks"])
@pytest.mark.parametrize("packets", ["one", "head and body", "bytes"])
async def test_an_offer_of_http_2_is_declined_and_the_request_answered(
    connect: Connect, worker: ScriptedWorker, sent: bytes, packets: str
) -> None:
    connection = await connect()
    sizes = {"one": [len(sent)], "head and body": [sent.index(b"\r\n\r\n") + 4, len(sent)], "bytes": [1] * len(sent)}
    at = 0
    for size in sizes[packets]:
        connection.writer.write(sent[at : at + size])
        at += size
        await asyncio.sleep(0.0005)  # in packets of their own, most of them
    first = await connection.response()
    assert (first.status_code, first.json()["solution"]) == (200, ANSWER)
    assert (await connection.exchange(request())).status_code == 200, "the connection goes on"


async def test_a_body_behind_an_offer_of_http_2_is_no_request(connect: Connect, worker: ScriptedWorker) -> None:
    connection = await connect()
    smuggled = request()
    connection.writer.write(request(H2C, body=smuggled)[: -len(smuggled)])
    await asyncio.sleep(0.05)
    response = await connection.exchange(smuggled)
    assert response.json()["type"] == "urn:hrm:problem:not-json"
    assert (await connection.exchange(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + H2C + b"\r\n")).status_code == 200
    assert worker.seen == []


async def test_curl_that_offers_http_2_is_answered(api: Api, worker: ScriptedWorker) -> None:
    command = ["curl", "--silent", "--http2", "--data", BODY.decode(), f"{api.url}/solve"]
    curl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await curl.communicate()
    assert json.loads(output)["solution"] == ANSWER


MUCH = b"x" * protocol.HEAD_LIMIT


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "not-http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not-http"),
        (b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n", "not-http"),
        (b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", "not-http"),
        (request(b"Content-Length: 3\r\n"), "not-http"),
        (b"POST /solve HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\n", "not-http"),
        (chunked(b"Expect: 100-continue\r\n")[:-5] + b"five\r\n", "not-http"),
        (request(target=b"/" + MUCH), "head-too-large"),
        (request(b"A: " + MUCH + b"\r\n"), "head-too-large"),
        (b"GET / HTTP/1.1\r\nA: " + MUCH + MUCH, "head-too-large"),
        (request(b"A:\r\n" * 2000), "head-too-large"),
        (chunked()[:-2] + b"A: " + MUCH + MUCH, "head-too-large"),
        (chunked()[:-2] + b"A:\r\n" * 2000, "head-too-large"),
        (chunked()[:-5] + b"0;" + MUCH + MUCH, "head-too-large"),
        (b"\r\n" * protocol.HEAD_LIMIT, "head-too-large"),
    ],
    ids=[
        *(
            "TLS",
            "HTTP/2",
            "CONNECT",
            "a target without a path",
            "two lengths",
            "no chunk",
            "not yet asked for",
            "target",
            "header",
        ),
        *("half a header", "headers", "half a trailer", "trailers", "extension of a chunk", "empty lines"),
    ],
)
async def test_what_cannot_be_parsed_is_refused_in_the_form_of_all_refusals(
    api: Api, connect: Connect, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture, sent: bytes, problem: str
) -> None:
    connection = await connect()
    for at in range(0, len(sent), 16384):  # so that a head comes in pieces, as from afar
        connection.writer.write(sent[at : at + 16384])
        await asyncio.sleep(0.002)
    assert refused(await connection.response()) == (problem, True)
    assert await connection.ended()
    assert worker.seen == []
    assert not [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert (await api.solve(puzzle=PUZZLE)).status_code == 200


async def test_a_head_just_within_the_limit_is_read(connect: Connect, worker: ScriptedWorker) -> None:
    headers = b"".join(b"A-%d: %b\r\n" % (number, b"x" * 8000) for number in range(7))
    assert (await (await connect()).exchange(request(headers))).status_code == 200


async def test_the_lines_between_small_chunks_are_no_head(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, worker: ScriptedWorker
) -> None:
    monkeypatch.setattr(protocol, "HEAD_LIMIT", 250)
    connection = await connect()
    sent = chunked(size=1)
    for at in range(len(sent)):
        connection.writer.write(sent[at : at + 1])
        await asyncio.sleep(0.0005)  # in packets of their own, most of them
    assert (await connection.response()).status_code == 200


async def test_half_a_head_is_waited_for_only_so_long(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, worker: ScriptedWorker
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.3)
    connection = await connect()
    assert (await connection.exchange(request())).status_code == 200
    assert refused(await connection.exchange(b"POST /solve HTTP/1.1\r\nHost:")) == ("head-timeout", True)
    assert await connection.ended()


async def test_an_empty_line_is_not_waited_behind_for_ever(monkeypatch: pytest.MonkeyPatch, connect: Connect) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.3)
    connection = await connect()
    connection.writer.write(b"\r\n")
    assert await connection.ended()


async def test_a_slow_answer_is_not_taken_for_a_slow_head(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, worker: ScriptedWorker
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.1)
    worker.script = held
    connection = await connect()
    connection.writer.write(request()[:20])
    await asyncio.sleep(0.02)
    connection.writer.write(request()[20:])
    await until(lambda: worker.held)
    await asyncio.sleep(0.3)
    worker.script = solved
    assert (await connection.response()).status_code == 200


@pytest.mark.parametrize("behind", [request(), b"nonsense\r\n\r\n"], ids=["request", "nonsense"])
async def test_what_comes_before_an_answer_is_not_read_and_the_connection_ends(
    connect: Connect, worker: ScriptedWorker, behind: bytes
) -> None:
    connection = await connect()
    answer = await connection.exchange(request() + behind)
    connection.writer.write(b"more " * 100_000)  # which must not have us reset the connection under the answer
    assert answer.json()["solution"] == ANSWER
    assert await connection.ended()
    assert len(worker.seen) == 1


async def test_hanging_up_cancels_whatever_came_behind(connect: Connect, worker: ScriptedWorker) -> None:
    worker.script = held
    connection = await connect()
    connection.writer.write(request() * 3)
    await until(lambda: worker.held)
    connection.writer.close()
    await until(lambda: worker.cancelled)
    assert len(worker.seen) == 1


async def test_a_request_refused_early_leaves_the_connection_usable(connect: Connect, worker: ScriptedWorker) -> None:
    connection = await connect()
    body = b" " * (3 << 20)
    sending = asyncio.create_task(connection.writer.drain())
    connection.writer.write(request(body=body))
    assert refused(await connection.response()) == ("body-too-large", False)
    await sending
    assert (await connection.exchange(request())).status_code == 200


async def test_http_1_0_gets_its_batch_without_chunks(connect: Connect, worker: ScriptedWorker) -> None:
    connection = await connect()
    body = json.dumps({"task": "sudoku", "puzzles": [PUZZLE, PUZZLE, "bad"]}).encode()
    response = await connection.exchange(request(target=b"/solve/batch", body=body).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert sorted(json.loads(line)["index"] for line in response.text.splitlines()) == [0, 1, 2]
    assert await connection.ended()


async def test_hanging_up_on_a_batch_of_http_1_0_is_no_fault_of_ours(
    api: Api, connect: Connect, worker: ScriptedWorker
) -> None:
    worker.script = held
    connection = await connect()
    body = json.dumps({"task": "sudoku", "puzzles": [PUZZLE] * 2}).encode()
    connection.writer.write(request(target=b"/solve/batch", body=body).replace(b"HTTP/1.1", b"HTTP/1.0"))
    await until(lambda: len(worker.held) == 2)
    connection.writer.close()
    await until(lambda: len(worker.cancelled) == 2)
    await until(lambda: 'code="499",method="POST",route="/solve/batch"} 1.0' in api.context.metrics.render().decode())
    assert 'code="500"' not in api.context.metrics.render().decode()
