"""The Prometheus rules of deploy/, as data, and the metrics that an expression speaks of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from service.metrics import ApiMetrics, WorkerMetrics

ROOT = Path(__file__).parent.parent
RECORDING = ROOT / "deploy/prometheus/recording.yaml"
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"

_METRIC = re.compile(r"\bhrm_[a-z0-9_]+\b")
_RECORDED = re.compile(r"\b(?:task:)?hrm_[a-z0-9_]+:[a-z0-9]+\b")


def rules(path: Path) -> list[dict[str, Any]]:
    """All rules of a file."""
    return [rule for group in _groups(path) for rule in group["rules"]]


def prometheus_rule() -> str:
    """The rules as a PrometheusRule of the Prometheus operator."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "hrm", "namespace": "hrm"},
        "spec": {"groups": _groups(RECORDING) + _groups(ALERTS)},
    }
    text: str = yaml.safe_dump(resource, sort_keys=False, width=120)
    return f"# Made by `make generate` from deploy/prometheus.\n{text}"


def metrics_in(expression: str) -> set[str]:
    """The metrics that a PromQL expression names; not those that recording rules make."""
    return set(_METRIC.findall(_RECORDED.sub("", expression)))


def recorded_in(expression: str) -> set[str]:
    """The recording rules that a PromQL expression names."""
    return set(_RECORDED.findall(expression))


def exported() -> set[str]:
    """Every sample name of both roles' metrics."""
    names: set[str] = set()
    for role in (ApiMetrics(), WorkerMetrics(max_segments=16)):
        for family in role.registry.collect():
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
            names |= {family.name + suffix for suffix in suffixes}
    return names


def _groups(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load(path.read_text())["groups"])
