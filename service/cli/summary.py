"""What came out, by source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table

from service.cli.results import Result


@dataclass(slots=True)
class Tally:
    """Counts over some results."""

    puzzles: int = 0
    errors: int = 0
    known: int = 0
    exact: int = 0
    checked: int = 0
    valid: int = 0
    solved_segments: list[int] = field(default_factory=list)
    unsolved_segments: list[int] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one more."""
        self.puzzles += 1
        if result.answer is None:
            self.errors += 1
            return
        self.known += result.exact is not None
        self.exact += bool(result.exact)
        self.checked += result.answer.valid is not None
        self.valid += bool(result.answer.valid)
        (self.solved_segments if result.solved else self.unsolved_segments).append(result.answer.total_segments)


@dataclass(slots=True)
class Summary:
    """A tally of everything, and one for every source."""

    total: Tally = field(default_factory=Tally)
    sources: dict[str, Tally] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count one more result."""
        self.total.add(result)
        if result.row.source is not None:
            self.sources.setdefault(result.row.source, Tally()).add(result)

    def table(self, seconds: float) -> Table:
        """For the end of a run that took so long."""
        rate = self.total.puzzles / seconds if seconds else 0.0
        table = Table(
            title=f"{self.total.puzzles} puzzles in {seconds:.1f} s, {rate:.1f} a second", title_justify="left"
        )
        table.add_column("source")
        for name in ("puzzles", "exact", "valid", "segments", "if solved", "if not", "errors"):
            table.add_column(name, justify="right")
        for name, tally in _rows(self).items():
            segments = tally.solved_segments + tally.unsolved_segments
            table.add_row(
                escape(name),
                str(tally.puzzles),
                _share(tally.exact, tally.known),
                _share(tally.valid, tally.checked),
                _mean(segments),
                _mean(tally.solved_segments),
                _mean(tally.unsolved_segments),
                str(tally.errors),
            )
        return table


def _rows(summary: Summary) -> Mapping[str, Tally]:
    return {**dict(sorted(summary.sources.items())), "all": summary.total}


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _mean(numbers: list[int]) -> str:
    return f"{sum(numbers) / len(numbers):.2f}" if numbers else "-"
