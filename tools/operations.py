"""docs/operations.md, made from the settings model, the metrics and the alerts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from service.metrics import ApiMetrics, WorkerMetrics
from service.settings import SECRETS, Settings, variable
from tools.monitoring import ALERTS, RECORDING, rules

_HEAD = """# Operations

Made by `make generate` from the code; a test fails when it is stale.

## Settings

Each is a variable and a flag: `HRM_QUEUE_LIMIT=100` or `--queue-limit 100`. Flags go before variables. `hrm config`
shows what is in force and where it comes from, `hrm doctor` whether it will work here.
{secrets} may also lie in files: `HRM_API_KEYS_FILE` names one.
"""

_METRICS = """
## Metrics

Base units, prefix `hrm_`. Each process exports its own under `/metrics`: an API on `HRM_METRICS_PORT` or, where that is
not set, on its port, a worker on `HRM_PROBE_PORT`. `hrm serve` shows the union of its processes on the API's port,
whichever API process answers: there every sample has the label `process` (`api-1`, `worker-2`), which a process keeps
when it is started again.

Add up counters after `rate` or `increase`, never before. The queue's gauges (`hrm_queue_depth`,
`hrm_queue_oldest_age_seconds`) are told by every API process alike: take their `max by (task, lane)`, as the rules do.
"""

_RECORDING = """
### Recording rules

`deploy/prometheus/recording.yaml`.
"""

_ALERTS = """
## Alerts

`deploy/prometheus/alerts.yaml`. *critical* is worth waking somebody; *warning* waits for the morning.
"""

_LOGS = """
## Logs

One line an event on stderr, with `HRM_LOG_FORMAT=json` one JSON object: `time`, `level`, `logger`, `message`, and where
they apply `request_id` (a client's `X-Request-Id`, or one made up), `job_id`, `trace_id`, `task`. A request's line in
the API and a puzzle's lines in the worker share its `job_id`. Puzzles are logged at `debug` only.

## Traces

With the extra `otel` (the images have it) and `HRM_TRACE_SAMPLE` above 0 on API and workers, sampled requests are
exported over OTLP to where OpenTelemetry's own variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`). One trace a request:

```
POST /solve            API: from the first byte to the last; continues the caller's traceparent
├─ queue               worker: from admission to the slot
├─ slot                worker: from the slot to the halt (checkpoint, segments, halted_by)
│  ├─ segment          one each
│  └─ ...
└─ reply               worker: until the answer is in Redis, and on its way to the API
```
"""


def operations() -> str:
    """The whole page."""
    secrets = ", ".join(f"`{variable(name)}`" for name in SECRETS)
    return "".join(
        [
            _HEAD.format(secrets=secrets),
            _table(["variable", "default", "allowed", "what it does, and when to change it"], _settings()),
            _METRICS,
            *(
                f"\n### {title}\n{_table(['metric', 'type', 'labels', 'what it says'], rows)}"
                for title, rows in _metrics()
            ),
            _RECORDING,
            _table(
                ["record", "expression"], ([f"`{rule['record']}`", _code(rule["expr"])] for rule in rules(RECORDING))
            ),
            _ALERTS,
            *map(_alert, rules(ALERTS)),
            _LOGS,
        ]
    )


def _settings() -> Iterable[list[str]]:
    properties: dict[str, dict[str, Any]] = Settings.model_json_schema()["properties"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{_plain(field.default)}`"
        yield [f"`{variable(name)}`", default, _allowed(properties[name]), field.description or ""]


def _allowed(schema: dict[str, Any]) -> str:
    """What a setting may be, from its JSON schema."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    kind = kinds[0]
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "array": "list"}
    parts = [words.get(str(kind.get("type")), "path" if kind.get("format") == "path" else "text")]
    if "exclusiveMinimum" in kind:
        parts.append(f"above {kind['exclusiveMinimum']:g}")
    if "minimum" in kind:
        parts.append(f"from {kind['minimum']:g}")
    if "maximum" in kind:
        parts.append(f"to {kind['maximum']:.10g}")
    return " ".join(parts)


def _metrics() -> Iterable[tuple[str, list[list[str]]]]:
    roles = (("Of the API", ApiMetrics()), ("Of the worker", WorkerMetrics(max_segments=16)))
    for title, role in roles:
        # There is no public way to ask for a metric's labels before it has any values.
        collectors = dict.fromkeys(role.registry._names_to_collectors.values())
        yield title, [_metric(collector) for collector in collectors if isinstance(collector, MetricWrapperBase)]


def _metric(metric: MetricWrapperBase) -> list[str]:
    name = metric._name + ("_total" if metric._type == "counter" else "")
    return [
        f"`{name}`",
        str(metric._type),
        ", ".join(f"`{label}`" for label in metric._labelnames),
        str(metric._documentation),
    ]


def _alert(rule: dict[str, Any]) -> str:
    severity, notes = rule["labels"]["severity"], rule["annotations"]
    after = f", for {rule['for']}" if "for" in rule else ""
    return (
        f"\n### {rule['alert']} ({severity})\n\n"
        f"When: {_code(rule['expr'])}{after}.\n\n"
        f"What to do: {notes['runbook'].strip()}\n"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _code(expression: str) -> str:
    return f"`{' '.join(expression.split())}`"


def _plain(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)
