"""Who computes a segment, and what loading leaves behind."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from service.engine.turns import apart, turns_of

TASKS = Path("/proc/self/task")
BIG = 1 << 20
"""Elements, enough for torch to share an operation out among threads."""


def threads() -> int:
    """Of this process, those of OpenMP included, when none has come or gone for a while."""
    counts = [-1]
    while len(set(counts[-5:])) > 1 or len(counts) < 5:
        counts.append(len(list(TASKS.iterdir())))
        time.sleep(0.05)
    return counts[-1]


def test_what_runs_apart_gives_its_result() -> None:
    assert apart(lambda: threading.current_thread().name) == "apart"


def test_what_runs_apart_raises_its_error() -> None:
    with pytest.raises(ZeroDivisionError):
        apart(lambda: 1 // 0)


@pytest.mark.skipif(not TASKS.exists(), reason="threads are counted in Linux's /proc")
@pytest.mark.skipif(torch.get_num_threads() == 1, reason="one thread needs no team")
def test_what_runs_apart_leaves_no_team_of_threads_behind() -> None:
    team = torch.get_num_threads() - 1
    before = threads()
    apart(lambda: torch.ones(BIG).add_(1))
    assert threads() == before
    with ThreadPoolExecutor(1) as lasting:
        lasting.submit(lambda: torch.ones(BIG).add_(1)).result()
        assert threads() == before + 1 + team  # a thread that lasts keeps its team


def test_on_a_cpu_the_calling_thread_computes_when_it_is_waited_for() -> None:
    turns, ran = turns_of(torch.device("cpu"), 2, 1), []

    def work() -> torch.Tensor:
        ran.append(threading.current_thread())
        return torch.zeros(2, 1, dtype=torch.uint8)

    turns.start(work)
    assert not ran
    said, seconds = turns.wait()
    assert (said.shape, ran, seconds > 0) == ((2, 1), [threading.current_thread()], True)
    with pytest.raises(RuntimeError, match="not started"):
        turns.wait()
