"""The manual does what it says, and leaves nothing out: api.md, checkpoints.md, client.md. A stub is the network."""

import asyncio
import contextlib
import io
import json
import re
import shlex
import shutil
from collections.abc import AsyncIterator, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from benchmarks.stub import stub_registry
from model.registry import Registry
from service.api.app import create_app
from service.broker.config import BrokerConfig
from service.broker.front import RedisFrontBroker
from service.problems import ProblemKind
from service.schemas import SolveRequest
from service.settings import Settings
from tests.conftest import ANSWER
from tests.service.api.conftest import api_server
from tests.service.worker.worker_lab import Gate, Hired

DOCS = Path(__file__).parents[2] / "docs"
OMITTED = "..."


@pytest.fixture
async def urls(redis_url: str, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """A server that asks for no keys, and one that knows alice's, with a worker behind both."""
    registry = stub_registry(tmp_path / "registry")
    settings = Settings(redis_url=redis_url, checkpoints=registry, slots=8)
    keyed = settings.model_copy(
        update={"api_keys": SecretStr("alice:a-secret"), "admin_key": SecretStr("admin-secret")}
    )
    worker = Hired(settings, "stub", Gate())
    try:
        async with api_server(settings, registry) as free, api_server(keyed, registry) as locked:
            yield free.url, locked.url
    finally:
        await asyncio.to_thread(worker.leave)


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / file).read_text(), re.MULTILINE | re.DOTALL)


def commands(file: str) -> Iterator[tuple[str, str]]:
    """Each command of a document, with the output shown under it."""
    for block in blocks(file, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.replace("VERSION", "stub").partition("\n")
            yield command, output


def parsed(output: str) -> tuple[list[str], list[Any]]:
    """The header lines of an output, and the JSON values behind them."""
    head, start, rest = re.match(r"([^{\[]*)([{\[]?)(.*)", output, re.DOTALL).groups()
    values, rest = [], (start + rest).strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        values.append(value)
        rest = rest[end:].strip()
    return head.split("\r\n" if "\r\n" in head else "\n"), values


def agree(shown: Any, said: Any) -> bool:
    """Whether a value is as it is shown."""
    if shown == OMITTED:
        return True
    if isinstance(shown, dict) and isinstance(said, dict):
        named = shown.keys() - {OMITTED}
        return (OMITTED in shown or named == said.keys()) and all(
            name in said and agree(shown[name], said[name]) for name in named
        )
    if isinstance(shown, list) and isinstance(said, list):
        return len(shown) == len(said) and all(map(agree, shown, said))
    return bool(shown == said)


def as_shown(shown: str, said: str) -> bool:
    shown_lines, shown_values = parsed(shown)
    lines, values = parsed(said)
    return (
        all(any(fnmatchcase(line, wanted.replace(OMITTED, "*")) for line in lines) for wanted in shown_lines if wanted)
        and len(shown_values) == len(values)
        and all(any(agree(wanted, value) for value in values) for wanted in shown_values)
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
@pytest.mark.parametrize(("file", "count"), [("api.md", 12), ("checkpoints.md", 3)])
async def test_every_request_does_what_is_shown(urls: tuple[str, str], tmp_path: Path, file: str, count: int) -> None:
    job_id, ran = "", 0

    async def run(command: str) -> str:
        url = urls["Authorization" in command].removeprefix("http://")
        words = shlex.split(command.replace("localhost:8000", url).replace("JOB_ID", job_id))
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, cwd=tmp_path)
        return (await process.communicate())[0].decode()

    for command, shown in commands(file):
        if not command.startswith("curl"):
            continue
        said = await run(command)
        while "JOB_ID" in command and not as_shown(shown, said):  # the job has not ended yet
            said = await run(command)
        assert as_shown(shown, said), f"{command}\n{said}"
        found = re.search(r'"id": ?"([\w-]+)"', said)
        job_id, ran = found[1] if found else job_id, ran + 1
    assert ran == count


async def test_every_example_of_the_client_runs(urls: tuple[str, str]) -> None:
    written, names = io.StringIO(), {"__name__": "example"}

    def run() -> None:
        with contextlib.redirect_stdout(written):
            for code in blocks("client.md", "python"):
                exec(code.replace("http://127.0.0.1:8000", urls[0]), names)  # noqa: S102 (our own words)

    await asyncio.to_thread(run)
    said = written.getvalue()
    assert f"{ANSWER} True 1 sudoku/stub" in said
    assert "True\n/puzzle: " in said
    assert "verified\n" in said
    assert "422 /puzzle" in said


def test_nothing_of_the_api_is_left_out() -> None:
    text = (DOCS / "api.md").read_text()
    app = create_app(Settings(), RedisFrontBroker(BrokerConfig("unix:///nowhere"), "unconnected"), Registry([]))
    routes = app.openapi()["paths"]
    names = [f"{method.upper()} {path}" for path, methods in routes.items() for method in methods]
    names += [f"`{kind.type.rpartition(':')[2]}`" for kind in ProblemKind]
    names += [f"`{name}`" for name in SolveRequest.model_fields]
    assert [name for name in names if name not in text] == []
