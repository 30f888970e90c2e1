"""The Grafana dashboard, as code."""

from __future__ import annotations

import json
from typing import Any

_WIDTH = 24
_HEIGHT = 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}

Panel = dict[str, Any]


def graph(title: str, unit: str, *queries: tuple[str, str], about: str = "", stack: bool = False) -> Panel:
    """Lines over time; a query is (expression, legend)."""
    custom = {"fillOpacity": 20 if stack else 5, "stacking": {"mode": "normal" if stack else "none"}}
    return _panel("timeseries", title, unit, queries, about) | {
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []}
    }


def number(title: str, unit: str, expression: str, legend: str, about: str = "") -> Panel:
    """The value now, with its recent course behind it."""
    return _panel("stat", title, unit, [(expression, legend)], about) | {
        "fieldConfig": {"defaults": {"unit": unit, "decimals": 2}, "overrides": []},
        "options": {"graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name"},
    }


def heatmap(title: str, expression: str, about: str = "") -> Panel:
    """A histogram over time."""
    panel = _panel("heatmap", title, "short", [(expression, "{{le}}")], about)
    panel["targets"][0]["format"] = "heatmap"
    return panel | {"options": {"calculate": False, "yAxis": {"unit": "short"}, "cellGap": 1}}


def table(title: str, expression: str, about: str = "") -> Panel:
    """The labels of what is there now."""
    panel = _panel("table", title, "short", [(expression, "")], about)
    panel["targets"][0] |= {"format": "table", "instant": True}
    return panel | {"transformations": [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]}


def _panel(kind: str, title: str, unit: str, queries: Any, about: str) -> Panel:
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": _SOURCE,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(queries)
        ],
    }


def _quantiles(metric: str, by: str, where: str = "") -> list[tuple[str, str]]:
    return [
        (
            f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket{{{where}}}[$__rate_interval])))",
            f"p{q * 100:g} {{{{{by}}}}}",
        )
        for q in (0.5, 0.95, 0.99)
    ]


_TASK = 'task=~"$task"'
_ASKED = 'route!~"/livez|/readyz|/metrics"'

ROWS: dict[str, list[Panel]] = {
    "Requests": [
        graph(
            "Requests a second",
            "reqps",
            (
                f"sum by (route, code) (rate(hrm_http_requests_total{{{_ASKED}}}[$__rate_interval]))",
                "{{route}} {{code}}",
            ),
            about="By route and status. 499: the client hung up.",
            stack=True,
        ),
        graph("Latency", "s", *_quantiles("hrm_http_request_duration_seconds", "route", 'route=~"/solve.*"')),
        graph(
            "Failed requests",
            "percentunit",
            ("hrm_http_errors:ratio5m", "5 minutes"),
            ("hrm_http_errors:ratio1h", "1 hour"),
            about="Share of 5xx among /solve and /jobs. The budget is 0.5 % a month.",
        ),
        graph(
            "Refused before the queue",
            "reqps",
            ("sum by (reason) (rate(hrm_admission_rejected_total[$__rate_interval]))", "{{reason}}"),
        ),
    ],
    "Thinking": [
        number(
            "Average segments used",
            "short",
            f"task:hrm_segments_used:mean5m{{{_TASK}}}",
            "{{task}}",
            about="What adaptive computation saves: without it, each answer would take its maximum.",
        ),
        graph(
            "Average segments used, by how it halted",
            "short",
            (
                f"sum by (task, halt) (rate(hrm_segments_used_sum{{{_TASK}}}[$__rate_interval]))"
                f" / sum by (task, halt) (rate(hrm_segments_used_count{{{_TASK}}}[$__rate_interval]))",
                "{{task}} {{halt}}",
            ),
        ),
        heatmap(
            "Segments used",
            f"sum by (le) (increase(hrm_segments_used_bucket{{{_TASK}}}[$__rate_interval]))",
            about="Much at the maximum: puzzles that are too hard, or a Q-head that never halts.",
        ),
        graph(
            "Why puzzles ended",
            "ops",
            (
                f"sum by (reason) (rate(hrm_requests_finished_total{{{_TASK}}}[$__rate_interval]))",
                "{{reason}}",
            ),
            stack=True,
        ),
        graph(
            "Valid answers",
            "percentunit",
            (f"task:hrm_answers_valid:ratio5m{{{_TASK}}}", "{{task}}"),
            about="By the exact checker; tasks without one are left out. A step at a swap is the new checkpoint.",
        ),
        graph("Time to solve", "s", *_quantiles("hrm_solve_duration_seconds", "task", _TASK)),
    ],
    "Searches": [
        graph(
            "Attempts a request",
            "short",
            (
                f"sum by (task, mode) (rate(hrm_attempts_sum{{{_TASK}}}[$__rate_interval]))"
                f" / sum by (task, mode) (rate(hrm_attempts_count{{{_TASK}}}[$__rate_interval]))",
                "{{task}} {{mode}}",
            ),
            about="Of requests that may have several.",
        ),
        heatmap(
            "Which attempt was accepted",
            f"sum by (le) (increase(hrm_winning_attempt_bucket{{{_TASK}}}[$__rate_interval]))",
            about="Much at the end: callers would be served by more attempts.",
        ),
        graph(
            "Verified",
            "percentunit",
            (
                f"sum by (task) (rate(hrm_winning_attempt_count{{{_TASK}}}[$__rate_interval]))"
                f' / sum by (task) (rate(hrm_attempts_count{{{_TASK}, mode="verified"}}[$__rate_interval]))',
                "{{task}}",
            ),
            about="The share of verified requests for which an answer was accepted.",
        ),
        graph(
            "Segments that came to nothing",
            "ops",
            (
                f"sum by (task, reason) (rate(hrm_lost_segments_total{{{_TASK}}}[$__rate_interval]))",
                "{{task}} {{reason}}",
            ),
            about="A sibling settled the request, or others needed the slot.",
        ),
    ],
    "Engine": [
        graph(
            "Slots",
            "short",
            (f"sum by (task) (hrm_slots{{{_TASK}}})", "{{task}}"),
            (f"sum by (task) (hrm_slots_occupied{{{_TASK}}})", "{{task}} occupied"),
        ),
        graph(
            "Occupancy",
            "percentunit",
            (f"task:hrm_slots_occupied:ratio{{{_TASK}}}", "{{task}} now"),
            (f"task:hrm_slot_segments_live:ratio5m{{{_TASK}}}", "{{task}} of the segments run"),
            about="The rest of the segments run is waste. Low while work waits: the worker's host is too slow.",
        ),
        graph(
            "Segments for which a freed slot stayed empty",
            "short",
            (
                f"sum by (task) (rate(hrm_refill_gap_segments_sum{{{_TASK}}}[$__rate_interval]))"
                f" / sum by (task) (rate(hrm_refill_gap_segments_count{{{_TASK}}}[$__rate_interval]))",
                "{{task}}",
            ),
            about="0 where a slot is filled in the very segment after it was freed.",
        ),
        graph("Time of a segment, by batch shape", "s", *_quantiles("hrm_segment_duration_seconds", "bucket")),
        graph(
            "Device memory",
            "bytes",
            ("sum by (instance, process, kind) (hrm_device_memory_bytes)", "{{instance}} {{process}} {{kind}}"),
            about="Used by each worker; free is the whole device's, which several workers may share.",
        ),
        graph(
            "Since the last segment",
            "s",
            ("time() - hrm_worker_last_step_timestamp_seconds", "{{instance}} {{process}}"),
            about="Grows while nothing is to be done; while slots are occupied, it must not.",
        ),
    ],
    "Queue": [
        graph(
            "Waiting",
            "short",
            (f"max by (task, lane) (hrm_queue_depth{{{_TASK}}})", "{{task}} {{lane}}"),
            stack=True,
        ),
        graph(
            "Age of the oldest",
            "s",
            (f"max by (task, lane) (hrm_queue_oldest_age_seconds{{{_TASK}}})", "{{task}} {{lane}}"),
        ),
        graph("Time in the queue", "s", *_quantiles("hrm_queue_wait_seconds", "task", _TASK)),
        graph(
            "What went wrong and was mended",
            "ops",
            ("sum(rate(hrm_redeliveries_total[$__rate_interval]))", "redelivered"),
            ("sum(rate(hrm_duplicate_results_total[$__rate_interval]))", "duplicate results dropped"),
            ("sum(rate(hrm_dead_letters_total[$__rate_interval]))", "given up"),
        ),
    ],
    "Checkpoints": [
        table("Serving", "count by (task, version, sha256) (hrm_checkpoint_info)", about="The value counts workers."),
        graph(
            "Loads",
            "short",
            ("sum by (task, outcome) (increase(hrm_checkpoint_loads_total[$__rate_interval]))", "{{task}} {{outcome}}"),
        ),
        graph("Time of a load", "s", *_quantiles("hrm_checkpoint_load_duration_seconds", "task")),
    ],
    "Workers and Redis": [
        graph("Up", "short", ('up{job=~".*hrm-(api|worker)|hrm"}', "{{job}} {{instance}}")),
        graph("Redis errors", "ops", ("sum by (op) (rate(hrm_redis_errors_total[$__rate_interval]))", "{{op}}")),
        graph(
            "Failed self-checks",
            "short",
            ("sum by (instance, process) (hrm_invariant_violations_total)", "{{instance}} {{process}}"),
            about="Always 0; anything else is a defect.",
        ),
        table("Versions", "count by (version) (hrm_build_info)"),
        table("How segments are run", "count by (task, backend, dtype, mode) (hrm_runner_info)"),
    ],
}

SWAPS = "count by (task, version) (hrm_checkpoint_info) unless count by (task, version) (hrm_checkpoint_info offset 1m)"
"""Is there for the first minute of each new checkpoint."""


def dashboard() -> str:
    """The dashboard as Grafana imports it."""
    return (
        json.dumps(
            {
                "uid": "hrm-serve",
                "title": "hrm-serve",
                "schemaVersion": 39,
                "tags": ["hrm"],
                "timezone": "browser",
                "refresh": "10s",
                "time": {"from": "now-1h", "to": "now"},
                "graphTooltip": 1,
                "templating": {
                    "list": [
                        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                        {
                            "name": "task",
                            "label": "Task",
                            "type": "query",
                            "datasource": _SOURCE,
                            "query": "label_values(hrm_queue_depth, task)",
                            "refresh": 2,
                            "multi": True,
                            "includeAll": True,
                            "allValue": ".*",
                        },
                    ]
                },
                "annotations": {
                    "list": [
                        {
                            "name": "Checkpoint swaps",
                            "enable": True,
                            "iconColor": "purple",
                            "datasource": _SOURCE,
                            "expr": SWAPS,
                            "step": "60s",
                            "titleFormat": "{{task}}/{{version}}",
                        }
                    ]
                },
                "panels": _laid_out(),
            },
            indent=1,
        )
        + "\n"
    )


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard, its variables filled in."""
    panels = [panel for row in ROWS.values() for panel in row]
    found = [target["expr"] for panel in panels for target in panel["targets"]] + [SWAPS]
    return [expression.replace("$__rate_interval", "5m").replace("$task", ".*") for expression in found]


def _laid_out() -> list[Panel]:
    """Rows from top to bottom, each with up to three panels beside each other."""
    panels: list[Panel] = []
    y = 0
    for title, row in ROWS.items():
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1}, "panels": []})
        y += 1
        columns = 3 if len(row) % 3 == 0 else 2
        for index, panel in enumerate(row):
            width = _WIDTH // columns
            place = {"x": width * (index % columns), "y": y, "w": width, "h": _HEIGHT}
            panels.append(panel | {"gridPos": place})
            y += _HEIGHT if index % columns == columns - 1 or index == len(row) - 1 else 0
    return [panel | {"id": number} for number, panel in enumerate(panels, start=1)]
