"""What a run tells while it runs: a bar on a terminal, plain lines elsewhere, and JSON lines always."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.recipe import Recipe
from training.trainer import StepResult


@dataclass(slots=True)
class Window:
    """Steps since the last line of the log."""

    steps: list[StepResult] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def add(self, result: StepResult) -> None:
        """Remember a step."""
        self.steps.append(result)

    def means(self) -> dict[str, Any]:
        """Means over the steps; `exact` and `segments` over the rows that halted in them."""
        halted = sum(step.halted for step in self.steps)
        row: dict[str, Any] = {"step": self.steps[-1].step, "lr": self.steps[-1].lr}
        for name in ("loss", "token_loss", "halt_loss", "continue_loss"):
            row[name] = round(sum(getattr(step, name) for step in self.steps) / len(self.steps), 6)
        for name in ("exact", "segments"):
            total = sum(getattr(step, name) * step.halted for step in self.steps if step.halted)
            row[name] = round(total / halted, 4) if halted else None
        row["steps_per_s"] = round(len(self.steps) / (time.perf_counter() - self.started), 3)
        return row


class Reporter:
    """Use as a context manager; the log is appended to, so that a resumed run continues it."""

    def __init__(self, recipe: Recipe, log: Path, done: int) -> None:
        self._console = Console(stderr=True)
        self._file = log.open("a", encoding="utf-8")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[state]}"), console=self._console)
        self._bar.disable = not self._console.is_terminal
        self._run = self._bar.add_task(recipe.name, total=recipe.train.steps, completed=done, state="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()
        self._file.close()

    def steps(self, window: Window) -> None:
        """A line of the log: means over the last steps."""
        row = window.means()
        self._write({"event": "steps", **row})
        exact = "-" if row["exact"] is None else f"{row['exact']:.3f}"
        segments = "-" if row["segments"] is None else f"{row['segments']:.1f}"
        state = f"loss {row['token_loss']:.3f}, exact {exact}, segments {segments}, {row['steps_per_s']:.2f} steps/s"
        self._bar.update(self._run, completed=row["step"], state=state)
        self._say(f"step {row['step']}: {state}")

    def judged(self, step: int, source: str, exact: float, segments: float) -> None:
        """The verdict of the held-out puzzles of one source."""
        self._write({"event": "heldout", "step": step, "source": source, "exact": exact, "segments": segments})
        self._console.print(
            f"step {step}: held out from {source}: exact {exact:.3f}, segments {segments:.2f}", highlight=False
        )

    def _say(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line, highlight=False)

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps({"time": round(time.time(), 3), **entry}) + "\n")
        self._file.flush()
