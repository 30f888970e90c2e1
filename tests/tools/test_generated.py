"""What is made from the code is as the code would make it now."""

from pathlib import Path

import pytest

from service.metrics import WorkerMetrics
from service.settings import Settings, variable
from tools.generate import MADE
from tools.operations import operations


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_it_is_not_stale(path: Path) -> None:
    assert path.read_text() == MADE[path](), "stale: run `make generate`"


def test_the_manual_has_every_setting_and_metric() -> None:
    page = operations()
    for name, field in Settings.model_fields.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{variable(name)}` |"))
        assert row.endswith(f"| {field.description} |".replace("\n", " "))
    for family in WorkerMetrics(16).registry.collect():
        assert f"`{family.name}" in page


def test_the_manual_says_what_is_allowed() -> None:
    page = operations()
    assert "| `HRM_PORT` | `8000` | whole number from 0 to 65535 |" in page
    assert "| `HRM_LOG_FORMAT` | `console` | `console`, `json` |" in page
    assert "| `HRM_DRAIN_TIMEOUT_S` | `30.0` | number above 0 to 2592000 |" in page
    assert "| `hrm_segments_used` | histogram | `task`, `halt` |" in page
