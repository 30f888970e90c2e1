"""The union of expositions: every sample of every process, under its name."""

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.exposition import merge

SOLVED = st.dictionaries(st.text(), st.floats(min_value=0, allow_nan=False))
SEGMENTS = st.lists(st.integers(1, 64))


def exposition(solved: Mapping[str, float], segments: Iterable[int] = ()) -> str:
    """What a process exports that has solved so many puzzles of these tasks, in so many segments."""
    registry = CollectorRegistry()
    counter = Counter("hrm_solved_total", "Solved.", ["task"], registry=registry)
    for task, count in solved.items():
        counter.labels(task).inc(count)
    used = Histogram("hrm_segments_used", "Segments.", buckets=[1, 2, 4], registry=registry)
    for n in segments:
        used.observe(n)
    Gauge("hrm_slots", "Slots.", registry=registry).set(8)
    return generate_latest(registry).decode()


def samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    return [(s.name, s.labels, s.value) for family in text_string_to_metric_families(text) for s in family.samples]


def test_every_sample_says_whose_it_is() -> None:
    merged = merge({"worker-1": exposition({"sudoku": 3}, [1, 4]), "worker-2": exposition({"sudoku": 2}, [2])})
    assert merged.decode() == (
        "# HELP hrm_solved_total Solved.\n"
        "# TYPE hrm_solved_total counter\n"
        'hrm_solved_total{process="worker-1",task="sudoku"} 3.0\n'
        'hrm_solved_total{process="worker-2",task="sudoku"} 2.0\n'
        "# HELP hrm_segments_used Segments.\n"
        "# TYPE hrm_segments_used histogram\n"
        'hrm_segments_used_bucket{le="1.0",process="worker-1"} 1.0\n'
        'hrm_segments_used_bucket{le="2.0",process="worker-1"} 1.0\n'
        'hrm_segments_used_bucket{le="4.0",process="worker-1"} 2.0\n'
        'hrm_segments_used_bucket{le="+Inf",process="worker-1"} 2.0\n'
        'hrm_segments_used_count{process="worker-1"} 2.0\n'
        'hrm_segments_used_sum{process="worker-1"} 5.0\n'
        'hrm_segments_used_bucket{le="1.0",process="worker-2"} 0.0\n'
        'hrm_segments_used_bucket{le="2.0",process="worker-2"} 1.0\n'
        'hrm_segments_used_bucket{le="4.0",process="worker-2"} 1.0\n'
        'hrm_segments_used_bucket{le="+Inf",process="worker-2"} 1.0\n'
        'hrm_segments_used_count{process="worker-2"} 1.0\n'
        'hrm_segments_used_sum{process="worker-2"} 2.0\n'
        "# HELP hrm_slots Slots.\n"
        "# TYPE hrm_slots gauge\n"
        'hrm_slots{process="worker-1"} 8.0\n'
        'hrm_slots{process="worker-2"} 8.0\n'
    )


@given(st.dictionaries(st.text(), st.builds(exposition, SOLVED, SEGMENTS)))
def test_each_process_is_found_again_as_it_was(expositions: dict[str, str]) -> None:
    union = samples(merge(expositions).decode())
    for process, text in expositions.items():
        own = [(name, labels, value) for name, labels, value in union if labels["process"] == process]
        assert own == [(name, {"process": process, **labels}, value) for name, labels, value in samples(text)]
    assert len(union) == sum(len(samples(text)) for text in expositions.values())


def test_a_process_that_is_away_changes_nobody_elses_series() -> None:
    first = exposition({"sudoku": 3})
    assert merge({"worker-1": first, "worker-2": ""}) == merge({"worker-1": first})


def test_what_is_a_union_already_keeps_its_names() -> None:
    union = merge({"worker-1": exposition({"sudoku": 3}), "worker-2": exposition({"sudoku": 2})})
    assert merge({"another machine": union.decode()}) == union


def test_nonsense_is_an_error() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        merge({"worker-1": "x y z {"})
