"""Promises of `hrm serve`, asked of real processes."""

import asyncio
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from served import Service, hrm

from benchmarks.cluster import until
from service.client import AsyncClient, BusyError, Client
from service.schemas import Answer, SolveRequest

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
LONG = SolveRequest(task="sudoku", puzzle=PUZZLE, mode="fixed", max_segments=48)


def samples(service: Service) -> list[Sample]:
    """What /metrics shows, by whichever API process answers."""
    text = httpx.get(f"{service.url}/metrics").text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def processes(service: Service) -> set[str]:
    """Whose metrics they are."""
    return {sample.labels["process"] for sample in samples(service)}


def test_it_answers(service: Service) -> None:
    with Client(service.url) as client:
        answer = client.solve(PUZZLE, task="sudoku")
    assert (answer.checkpoint, answer.segments) == ("sudoku/tiny", 4)
    assert (len(answer.solution), answer.valid) == (81, False)


def test_the_api_stays_small_and_without_torch(service: Service) -> None:
    for process in service.children("hrm api"):
        assert process.memory_info().rss < 120e6
        assert not [m.path for m in process.memory_maps() if "libtorch" in m.path]


def test_metrics_are_those_of_all_processes(service: Service) -> None:
    """Whichever API process is asked, it shows every request and the worker's segments."""

    def totals() -> tuple[float, float, float]:
        shown = samples(service)
        assert {sample.labels["process"] for sample in shown} == {"api-1", "api-2", "worker-1"}
        return tuple(
            sum(s.value for s in shown if s.name == name and s.labels.get("route", "/solve") == "/solve")
            for name in ("hrm_http_requests_total", "hrm_segments_used_count", "hrm_segments_used_sum")
        )

    before = totals()
    with Client(service.url) as client:
        answers = list(client.solve_many([PUZZLE] * 50, task="sudoku", max_segments=3))
    segments = sum(answer.segments for answer in answers if isinstance(answer, Answer))
    for _ in range(6):
        assert [now - then for now, then in zip(totals(), before, strict=True)] == [50, 50, segments]


def test_metrics_are_those_of_all_processes_although_redis_hangs(service: Service) -> None:
    (queue,) = service.children("valkey-server")
    queue.suspend()
    try:
        for _ in range(3):  # on one connection, and on ones that cannot be opened
            assert processes(service) == {"api-1", "api-2", "worker-1"}
    finally:
        queue.resume()
    until(service.ready)


def test_hrm_solve_asks_it(service: Service, tmp_path: Path) -> None:
    rows = tmp_path / "puzzles.csv"
    rows.write_text(f"source,question,answer,rating\na,{PUZZLE},,1\nb,55{PUZZLE[2:]},,2\nc,{PUZZLE},,3\n")
    output = tmp_path / "out.jsonl"
    asked = ("--url", service.url, "--task", "sudoku", "--max-segments", "2")
    ran = hrm("solve", *asked, "--file", str(rows), "--output", str(output))
    assert ran.returncode == 1
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(line.get("source"), line.get("segments"), line.get("line")) for line in lines] == [
        ("a", 2, None),
        (None, None, 3),
        ("c", 2, None),
    ]
    assert "row 1 holds 5 twice" in lines[1]["error"]
    assert re.search(r"all\W+3", ran.stdout)


@pytest.mark.parametrize("victim", ["hrm worker", "hrm api", "valkey-server"])
async def test_a_child_that_is_killed_under_load_costs_no_answer(service: Service, victim: str) -> None:
    async with AsyncClient(service.url) as client:
        outcomes = []
        async for outcome in client.solve_many([LONG] * 60, concurrency=30):
            if len(outcomes) == 5:
                service.kill(victim)
            outcomes.append(outcome)
    assert [outcome for outcome in outcomes if not isinstance(outcome, Answer)] == []
    assert len({outcome.id for outcome in outcomes}) == 60
    if victim == "hrm worker":
        assert "what the dead worker held goes to others" in service.log
    until(lambda: len(service.children(victim)) == (2 if victim == "hrm api" else 1))


async def test_several_workers_share_the_work_and_take_over_from_each_other(start: Callable[..., Service]) -> None:
    service = start("--worker-processes", "2")
    until(lambda: service.ready() and len(httpx.get(f"{service.url}/workers").json()) == 2)
    async with AsyncClient(service.url) as client:
        outcomes = []
        async for outcome in client.solve_many([LONG] * 60, concurrency=30):
            if len(outcomes) == 5:
                service.kill("hrm worker")
            outcomes.append(outcome)
    assert [outcome for outcome in outcomes if not isinstance(outcome, Answer)] == []
    until(lambda: processes(service) == {"api-1", "worker-1", "worker-2"})
    assert service.stop() == 0
    assert service.orphans() == []


async def test_sigterm_ends_it_in_order_and_tells_who_waits_to_come_again(service: Service) -> None:
    async with AsyncClient(service.url, patience_s=0) as client:
        longest = LONG.model_copy(update={"max_segments": 256})  # some still wait, however fast the machine is
        asked = [asyncio.create_task(client.solve(longest)) for _ in range(100)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        code = await asyncio.to_thread(service.stop)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    turned_away = [outcome for outcome in outcomes if isinstance(outcome, BusyError)]
    assert code == 0
    assert len(answers) + len(turned_away) == 100
    assert len(answers) >= 8, "what was seated is answered"
    assert turned_away
    assert {(error.status, error.retry_after is not None) for error in turned_away} == {(503, True)}
    assert service.orphans() == []


def test_it_dies_with_all_its_children(start: Callable[..., Service]) -> None:
    service = start()
    until(lambda: service.url and service.children("hrm worker"))
    assert service.children("valkey-server")
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    assert service.orphans() == []


def test_what_the_worker_refuses_ends_it_with_one_line(start: Callable[..., Service]) -> None:
    service = start("--device", "cuda:99")
    assert service.process.wait(60) == 2
    assert "hrm worker: device 'cuda:99' is not there" in service.log
    assert service.log.strip().splitlines()[-1] == "hrm serve: the worker refused to start"
    assert "Traceback" not in service.log
