"""Merging expositions: nothing is lost, nothing counted twice."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.exposition import merge


def exposition(solved: int, segments: list[int], depth: float) -> str:
    registry = CollectorRegistry()
    Counter("hrm_solved_total", "Solved.", ["task"], registry=registry).labels("sudoku").inc(solved)
    used = Histogram("hrm_segments_used", "Segments.", buckets=[1, 2, 4], registry=registry)
    for n in segments:
        used.observe(n)
    Gauge("hrm_queue_depth", "Waiting.", registry=registry).set(depth)
    Gauge("hrm_slots", "Slots.", registry=registry).set(8)
    return generate_latest(registry).decode()


def values(text: bytes) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, s.labels.get("le", "")): s.value for f in families for s in f.samples}


def test_counters_and_histograms_add_up_and_shared_gauges_do_not() -> None:
    merged = merge([exposition(2, [1, 4], 5), exposition(3, [2], 7)], largest={"hrm_queue_depth"})
    found = values(merged)
    assert found["hrm_solved_total", ""] == 5
    assert (found["hrm_segments_used_count", ""], found["hrm_segments_used_sum", ""]) == (3, 7)
    assert [found["hrm_segments_used_bucket", le] for le in ("1.0", "2.0", "4.0", "+Inf")] == [1, 2, 3, 3]
    assert found["hrm_queue_depth", ""] == 7
    assert found["hrm_slots", ""] == 16
    assert merged.count(b"# TYPE hrm_segments_used histogram") == 1


def test_one_exposition_stays_what_it_is() -> None:
    text = exposition(2, [1], 5)
    assert values(merge([text])) == values(text.encode())


def test_a_metric_of_one_process_alone_is_kept() -> None:
    merged = merge(
        ['# HELP a A.\n# TYPE a gauge\na{x="q\\"1\\n"} 1.0\n', "# HELP b B.\n# TYPE b counter\nb_total 2.0\n"]
    )
    assert b'a{x="q\\"1\\n"} 1.0' in merged
    assert b"b_total 2.0" in merged


def test_nonsense_is_an_error() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        merge(["x y z {"])
