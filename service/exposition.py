"""Several processes' Prometheus expositions as one, so that `hrm serve` is a single target to scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


def merge(expositions: Mapping[str, str]) -> bytes:
    """The union of text expositions, by the names of the processes that they come from.

    Every sample gets its process' name as the label `process`, unless it has one. Nothing is added up here: the sum
    of a counter would fall when one of the processes starts again or does not answer, and Prometheus would count the
    others' share as new. Raises ValueError on what is not an exposition.
    """
    families: dict[str, Metric] = {}
    for process, exposition in expositions.items():
        for family in text_string_to_metric_families(exposition):
            union = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            union.samples += [s._replace(labels={"process": process, **s.labels}) for s in family.samples]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(families.values()))
    return generate_latest(registry)


class _Fixed(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
