"""A queue, a registry, and workers that end with the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_lab import Gate, Hired, desk_of

from service.broker.admin import QueueAdmin
from service.broker.config import broker_config
from service.settings import Settings
from tests.service.broker.broker_lab import Desk


@pytest.fixture
def settings(redis_url: str, tiny_registry: Path) -> Settings:
    return Settings(redis_url=redis_url, checkpoints=tiny_registry, slots=4, lease_s=1.0, drain_timeout_s=10.0)


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    desk = desk_of(settings)
    yield desk
    desk.close()


@pytest.fixture
def admin(settings: Settings) -> Iterator[QueueAdmin]:
    admin = QueueAdmin(broker_config(settings))
    yield admin
    admin.close()


@pytest.fixture
def hire(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Hired]]:
    """A worker more, with settings of its own; `is_open=False`: its segments end one by one."""
    monkeypatch.setattr("service.worker.fetch.IDLE_WAIT_S", 0.1)  # the last look at the queue, when a worker leaves
    hired: list[Hired] = []

    def hire(*, is_open: bool = True, segments: int = 1, segment_s: float = 0.0, **changes: Any) -> Hired:
        own = settings.model_copy(update=changes)
        name = f"worker-{len(hired) + 1}"
        hired.append(Hired(own, name, Gate(is_open=is_open), segments=segments, segment_s=segment_s))
        return hired[-1]

    yield hire
    for worker in hired:
        worker.gate.let()
        worker.leave()
