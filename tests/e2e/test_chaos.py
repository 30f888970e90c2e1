"""Promise 1: an accepted request ends in exactly one visible answer, although processes are killed at random."""

import json
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cluster import HRM, Cluster, until
from model.tasks import get_task
from service.broker.admin import QueueAdmin
from service.broker.config import BrokerConfig
from service.client import AsyncClient
from service.schemas import Answer, SolveRequest
from tests.conftest import PUZZLE
from tests.service.broker.broker_lab import TASK, Desk

SEED = 20261124
PUZZLES, CALLERS = 3000, 64
WORKERS, WORKER_KILLS = 4, 25
APIS, API_KILLS = 2, 3
MOST_DEAD_LETTERS = 3
SHAPE = {"slots": 8, "fixed_batch": True}
"""One batch shape, so that every answer is known beforehand."""


@pytest.fixture
def cluster(tmp_path: Path, tiny_registry: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, tiny_registry, lease_s=3, result_ttl_s=900, **SHAPE) as cluster:
        yield cluster


def different_puzzles(rng: np.random.Generator) -> list[SolveRequest]:
    """Symmetries of one puzzle, each to be reasoned about for its own number of segments."""
    task = get_task(TASK)
    tokens = task.parse(PUZZLE)
    return [
        SolveRequest(
            task=TASK,
            puzzle=task.format(task.random_symmetry(rng).apply(tokens), like=""),
            mode="fixed",
            max_segments=int(rng.integers(1, 9)),
            timeout_s=300,
        )
        for _ in range(PUZZLES)
    ]


def solve_undisturbed(cluster: Cluster, requests: Sequence[SolveRequest], folder: Path) -> list[str]:
    """What `hrm solve` says of them, in one quiet process of the same shape."""
    puzzles, answers = folder / "puzzles.ndjson", folder / "answers.jsonl"
    puzzles.write_text("\n".join(request.model_dump_json(exclude_defaults=True) for request in requests))
    command = [*HRM, "solve", "--task", TASK, "--file", str(puzzles), "--output", str(answers)]
    subprocess.run(command, env=os.environ | cluster.environment, check=True, capture_output=True)
    return [json.loads(line)["solution"] for line in answers.read_text().splitlines()]


class Fate:
    """Kills processes when so many puzzles are answered, and starts others in their place."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        victims = ["worker"] * WORKER_KILLS + ["api"] * API_KILLS
        rng.shuffle(victims)
        moments = sorted(rng.sample(range(PUZZLES // 100, PUZZLES * 9 // 10), len(victims)))
        self._plan = list(zip(moments, victims, strict=True))
        self._cluster, self._rng = cluster, rng
        self.killed: list[str] = []

    def progress(self, answered: int) -> None:
        while self._plan and answered >= self._plan[0][0] and self._strike(self._plan[0][1]):
            self._plan.pop(0)

    def _strike(self, role: str) -> bool:
        able = self._cluster.ready(role)
        if not able:
            return False  # the next answer will ask again
        victim = self._rng.choice(able)
        victim.kill()
        (self._cluster.worker if role == "worker" else self._cluster.api)()
        self.killed.append(victim.name)
        return True


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_every_accepted_puzzle_is_answered_once_although_processes_die(cluster: Cluster, tmp_path: Path) -> None:
    print("seed", SEED)
    requests = different_puzzles(np.random.default_rng(SEED))
    for _ in range(APIS):
        cluster.api()
    for _ in range(WORKERS):
        cluster.worker()
    expected = solve_undisturbed(cluster, requests, tmp_path)
    cluster.until_ready(api=APIS, worker=WORKERS)

    fate = Fate(cluster, random.Random(SEED))
    async with AsyncClient(cluster.url, patience_s=300) as client:
        outcomes = [
            outcome async for outcome in client.solve_many(requests, concurrency=CALLERS, progress=fate.progress)
        ]

    config = BrokerConfig(cluster.queue.url)
    desk, admin = Desk(config), QueueAdmin(config)
    letters = list(admin.dead_letters(TASK))
    jobs = list(desk.redis.scan_iter("{hrm}:job:*", count=1000))
    hit = sum(any(crashes) for crashes in (desk.redis.hmget(job, "crashes", "losses") for job in jobs))
    print("killed", fate.killed, "puzzles that lost a worker", hit, "dead letters", letters)
    answers = {place: outcome for place, outcome in enumerate(outcomes) if isinstance(outcome, Answer)}
    others = [outcome for outcome in outcomes if not isinstance(outcome, Answer)]
    assert len(fate.killed) == WORKER_KILLS + API_KILLS
    assert {other.type for other in others} <= {"urn:hrm:problem:dead-letter"}, others
    assert len(others) == len(letters) <= MOST_DEAD_LETTERS
    assert all(answer.solution == expected[place] for place, answer in answers.items()), "nobody got another's answer"
    assert all(answer.segments == requests[place].max_segments for place, answer in answers.items())
    assert len({answer.id for answer in answers.values()}) == len(answers)
    assert len(jobs) == PUZZLES, "however often it was sent, a puzzle is one job"
    assert hit > WORKER_KILLS, "the dead were busy"
    until(desk.is_empty)
    for node in cluster.nodes:
        assert "Traceback" not in node.log, node.name
        assert "do not balance" not in node.log, node.name
    desk.close()
    admin.close()
