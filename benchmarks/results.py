"""Write RESULTS.md from what the benchmarks measured last.

    python -m benchmarks.results

`make results` runs the benchmarks one after another, each of which leaves a JSON file in benchmarks/results/, and then
this. Nothing in RESULTS.md is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import shown

HERE = Path(__file__).parent
ORDER = ("engine", "peers", "serve", "backends", "act", "scale-", "overhead", "queue_full", "checker", "fairness")
"""What comes first; the rest follows by name."""

INTRODUCTION = """# Results

Made by `make results` from the files in `benchmarks/results/`; [docs/performance.md](../docs/performance.md) says how
to read them. Figures of one table come from one run; those of different tables need not, and each names its machine.
A command with `--source` had a `--file`, too ([of these](../docs/shipped.md#the-puzzles)).
"""


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page for results by name."""
    return "\n".join([INTRODUCTION, *(section(results[name]) for name in sorted(results, key=_place))])


def section(result: Mapping[str, Any]) -> str:
    """One benchmark."""
    rows = result["rows"]
    machine = result["machine"]
    lines = [
        f"## {result['title'][0].upper()}{result['title'][1:]}",
        "",
        f"`{result['command']}`; {machine['date']}",
        "",
        f"{machine['cpu']}, {machine['threads']} threads, {machine['device']}; torch {machine['torch']}, "
        f"ONNX Runtime {machine['onnxruntime']}, Python {machine['python']}",
        "",
        _line(rows[0]),
        _line(["---" if not isinstance(value, float | int) else "---:" for value in rows[0].values()]),
        *(_line([shown(value) for value in row.values()]) for row in rows),
        "",
        *(f"- {name}: {shown(value)}" for name, value in result["figures"].items()),
        "",
    ]
    return "\n".join(lines)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Every result in a folder, by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _place(name: str) -> tuple[int, str]:
    return next((n for n, prefix in enumerate(ORDER) if name.startswith(prefix)), len(ORDER)), name


def main() -> None:
    (HERE / "RESULTS.md").write_text(page(read(HERE / "results")))


if __name__ == "__main__":
    main()
