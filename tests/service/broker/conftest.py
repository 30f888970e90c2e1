"""Both sides of the queue, on a real Valkey."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from broker_lab import Desk

from service.broker.admin import QueueAdmin
from service.broker.config import BrokerConfig
from service.broker.front import RedisFrontBroker
from service.broker.worker import RedisWorkerBroker


@pytest.fixture
def config(redis_url: str) -> BrokerConfig:
    return BrokerConfig(redis_url, queue_limit=50, lease_s=0.3)


@pytest.fixture
def desk(config: BrokerConfig) -> Iterator[Desk]:
    desk = Desk(config)
    yield desk
    desk.close()


@pytest.fixture
def admin(config: BrokerConfig) -> Iterator[QueueAdmin]:
    admin = QueueAdmin(config)
    yield admin
    admin.close()


@pytest.fixture
def hire(config: BrokerConfig) -> Iterator[Callable[[], RedisWorkerBroker]]:
    """A worker more."""
    numbers = itertools.count(1)
    hired: list[RedisWorkerBroker] = []

    def hire() -> RedisWorkerBroker:
        hired.append(RedisWorkerBroker(config, f"worker-{next(numbers)}"))
        return hired[-1]

    yield hire
    for worker in hired:
        worker.close()


@pytest.fixture
def worker(hire: Callable[[], RedisWorkerBroker]) -> RedisWorkerBroker:
    return hire()


@pytest_asyncio.fixture
async def front(config: BrokerConfig) -> AsyncIterator[RedisFrontBroker]:
    front = RedisFrontBroker(config, "api")
    await front.start()
    yield front
    await front.close()
