"""Alerts, recording rules and the dashboard speak of what is there."""

from typing import Any

import pytest
import yaml

from tools.dashboard import ROWS, expressions
from tools.monitoring import ALERTS, RECORDING, ROOT, exported, metrics_in, recorded_in, rules

ALERT_RULES = rules(ALERTS)
PROMTOOL_TESTS = ROOT / "deploy/prometheus/tests/alerts.test.yaml"

SPOKEN = {
    **{f"alert {rule['alert']}": rule["expr"] for rule in ALERT_RULES},
    **{f"record {rule['record']}": rule["expr"] for rule in rules(RECORDING)},
    **{f"dashboard {number}": expression for number, expression in enumerate(expressions())},
}


@pytest.mark.parametrize("expression", SPOKEN.values(), ids=SPOKEN.keys())
def test_every_metric_that_is_named_is_exported(expression: str) -> None:
    assert metrics_in(expression) <= exported()
    assert recorded_in(expression) <= {rule["record"] for rule in rules(RECORDING)}


def test_names_are_found_in_expressions() -> None:
    expression = 'sum(rate(hrm_a_total{x="y"}[5m])) / task:hrm_b:mean5m + hrm_c_d:ratio1h > hrm_e'
    assert metrics_in(expression) == {"hrm_a_total", "hrm_e"}
    assert recorded_in(expression) == {"task:hrm_b:mean5m", "hrm_c_d:ratio1h"}


@pytest.mark.parametrize("rule", ALERT_RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "runbook"}


def test_every_alert_has_a_test_of_promtool() -> None:
    text = PROMTOOL_TESTS.read_text()
    assert [rule["alert"] for rule in ALERT_RULES if f'alertname="{rule["alert"]}"' not in text] == []


def test_every_metric_of_the_service_is_on_the_dashboard_or_in_an_alert() -> None:
    """A metric that nobody looks at is a mistake in one of them."""
    seen = set().union(*(metrics_in(expression) for expression in SPOKEN.values()))
    series = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in exported()}
    assert {name for name in series if not any(one.startswith(name) for one in seen)} == set()


def test_the_dashboard_shows_how_much_was_thought_and_to_what_end() -> None:
    titles = {panel["title"] for row in ROWS.values() for panel in row}
    assert {"Average segments used", "Segments used", "Occupancy", "Why puzzles ended", "Valid answers"} <= titles


def test_compose_scrapes_what_alerts_call_a_target() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
    assert [scrape["job_name"] for scrape in config["scrape_configs"]] == ["hrm-api", "hrm-worker"]
