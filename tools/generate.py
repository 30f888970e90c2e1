"""Write everything that is made from the code: `python -m tools.generate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tools.dashboard import dashboard
from tools.monitoring import ROOT, prometheus_rule
from tools.operations import operations

MADE: dict[Path, Callable[[], str]] = {
    ROOT / "docs/operations.md": operations,
    ROOT / "deploy/grafana/dashboards/hrm-serve.json": dashboard,
    ROOT / "deploy/kubernetes/components/prometheus-operator/rules.yaml": prometheus_rule,
}


def main() -> None:
    """Write them all."""
    for path, make in MADE.items():
        path.write_text(make())
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
