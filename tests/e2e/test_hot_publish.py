"""Training publishes, the service answers with it, and nobody restarts anything."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from served import Service, hrm

from benchmarks.cluster import until
from model.registry import Registry
from service.client import Client
from tests.conftest import PUZZLE
from tests.training.tiny_run import hrm_train

SHORT = ["data.generate=64", "data.heldout=16", "train.steps=4", "train.eval_every=4", "train.save_every=4"]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry([tmp_path / "registry"])


@pytest.fixture
def publish(tmp_path: Path, registry: Registry) -> Callable[[], str]:
    """Publishes a finished run of the smoke recipe; returns the version."""
    run = tmp_path / "run"
    ran = hrm_train("fit", "smoke", *SHORT, "train.warmup_steps=0", "--run", run, "--device", "cpu")
    assert ran.returncode == 0, ran.stderr

    def publish() -> str:
        ran = hrm_train("publish", run, "--registry", registry.writable, "--device", "cpu")
        assert ran.returncode == 0, ran.stderr
        return str(registry.current_version("sudoku"))

    return publish


def seconds_until_answered_by(service: Service, registry: Registry, version: str) -> float:
    """From the moment in which CURRENT moved; the command that moved it takes longer to end."""
    with Client(service.url) as client:
        until(lambda: client.solve(PUZZLE, task="sudoku").checkpoint == f"sudoku/{version}")
    return time.time() - (registry.writable / "sudoku" / "CURRENT").stat().st_mtime


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_published_run_is_served_and_taken_back_without_a_restart(
    start: Callable[..., Service], registry: Registry, publish: Callable[[], str]
) -> None:
    first = publish()
    service = start(registry=registry.writable)
    until(service.ready, 180)
    workers = service.children("hrm worker")
    with Client(service.url) as client:
        assert client.solve(PUZZLE, task="sudoku").checkpoint == f"sudoku/{first}"

    second = publish()
    assert second != first
    print(f"published, and answers {seconds_until_answered_by(service, registry, second):.1f} s later")
    ran = hrm("checkpoint", "rollback", "sudoku", "--checkpoints", str(registry.writable))
    assert ran.stdout == f"sudoku/{first} is current\n"
    print(f"rolled back, and the old one answers {seconds_until_answered_by(service, registry, first):.1f} s later")
    assert service.children("hrm worker") == workers, "the worker was restarted"
