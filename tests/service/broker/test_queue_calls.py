"""The connections of a worker: as many as threads ever called at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import redis

from service.broker.config import BrokerConfig
from service.broker.worker import RedisWorkerBroker


@pytest.fixture
def open_ones(config: BrokerConfig) -> Callable[[RedisWorkerBroker], int]:
    """How many connections of a worker the server sees."""

    def count(worker: RedisWorkerBroker) -> int:
        with redis.Redis.from_url(config.url) as client:
            return sum(each["name"] == f"hrm-worker-{worker.worker_id}" for each in client.client_list())

    return count


def test_one_thread_needs_one(worker: RedisWorkerBroker, open_ones: Callable[[RedisWorkerBroker], int]) -> None:
    for _ in range(5):
        worker.take({"sudoku": 1})
    assert open_ones(worker) == 1


def test_threads_open_more_and_closing_ends_them_all(
    worker: RedisWorkerBroker, open_ones: Callable[[RedisWorkerBroker], int]
) -> None:
    together = Barrier(4)

    def wait(task: str) -> None:
        together.wait()
        worker.take({task: 1}, wait_s=0.3)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(wait, "abcd"))
        assert open_ones(worker) == 4
        list(threads.map(wait, "abcd"))
        assert open_ones(worker) == 4
    worker.close()
    assert open_ones(worker) == 0
