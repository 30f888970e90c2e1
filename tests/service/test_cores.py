"""How several processes share the cores."""

import os

import pytest

from service.cores import cores, threads_of_each


def test_only_cores_that_the_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 2, 5}, raising=False)
    assert cores() == 3


@pytest.mark.parametrize(("processes", "threads"), [(2, "2"), (3, "1"), (8, "1")])
def test_each_gets_its_part_and_at_least_one(monkeypatch: pytest.MonkeyPatch, processes: int, threads: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5)), raising=False)
    assert threads_of_each(processes) == {"OMP_NUM_THREADS": threads}


def test_one_alone_is_left_as_it_is() -> None:
    assert threads_of_each(1) == {}
