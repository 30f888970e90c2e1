"""`hrm dead`, on the queue of an embedded Valkey in the state directory."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from service.broker.admin import QueueAdmin
from service.broker.config import BrokerConfig
from service.broker.embedded import EmbeddedServer
from service.broker.front import RedisFrontBroker
from service.broker.records import NewJob
from service.broker.worker import RedisWorkerBroker
from service.cli import main
from service.schemas import Lane


def bury(config: BrokerConfig, job_id: str) -> None:
    """Have three workers die of a job."""
    admin = QueueAdmin(config)
    for n in range(config.max_crashes):
        worker = RedisWorkerBroker(config, f"worker-{job_id}-{n}")
        worker.renew(worker.take({"sudoku": 1}))
        admin.hand_over(worker.worker_id)
        worker.close()
    admin.close()


@pytest_asyncio.fixture
async def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """The state directory of a service in whose queue the jobs "a" and "b" are dead."""
    monkeypatch.setenv("HRM_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("HRM_REDIS_URL", raising=False)
    with EmbeddedServer(tmp_path) as server:
        config = BrokerConfig(server.url)
        front = RedisFrontBroker(config, "api")
        await front.start()
        for job_id in "ab":
            await front.submit(NewJob(job_id, "sudoku", Lane.NORMAL, b"{}", 60.0, "", 60.0))
            bury(config, job_id)
        await front.close()
        yield tmp_path


def listed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["dead", "list", "--json"]) == 0
    return [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]


def test_dead_letters_are_listed_and_requeued(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead", "list"]) == 0
    table = capsys.readouterr().out
    assert "worker-a-2" in table
    assert "sudoku" in table
    assert listed(capsys) == ["a", "b"]
    assert main(["dead", "requeue", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "requeued"
    assert listed(capsys) == ["a"]
    assert main(["dead", "requeue"]) == 0
    capsys.readouterr()
    assert listed(capsys) == []
    assert main(["dead", "list"]) == 0
    assert capsys.readouterr().out == "no dead letters\n"


def test_one_that_is_not_there_is_named(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead", "requeue", "a", "c", "--task", "sudoku"]) == 1
    assert capsys.readouterr().err == "hrm dead: no dead letter c\n"
    assert listed(capsys) == ["b"]


def test_a_queue_that_is_away_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HRM_REDIS_URL", raising=False)
    assert main(["dead", "list", "--state-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("hrm dead: ")
