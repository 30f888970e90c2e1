"""What a run tells while it runs: a bar on a terminal, plain lines elsewhere, and the log always."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.log import Sink
from training.recipe import Recipe
from training.trainer import StepResult


@dataclass(slots=True)
class Window:
    """Steps since the last line of the log."""

    batch_size: int
    steps: list[StepResult] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def add(self, result: StepResult) -> None:
        """Remember a step."""
        self.steps.append(result)

    def means(self) -> dict[str, Any]:
        """Means over the steps; `exact` and `segments` over the rows that halted in them; a sample is a row's step."""
        halted = sum(step.halted for step in self.steps)
        row: dict[str, Any] = {"step": self.steps[-1].step, "lr": self.steps[-1].lr}
        for name in ("loss", "token_loss", "halt_loss", "continue_loss", "cells"):
            row[name] = round(sum(getattr(step, name) for step in self.steps) / len(self.steps), 6)
        for name in ("exact", "segments"):
            total = sum(getattr(step, name) * step.halted for step in self.steps if step.halted)
            row[name] = round(total / halted, 4) if halted else None
        pace = len(self.steps) / (time.perf_counter() - self.started)
        return row | {"steps_per_s": round(pace, 3), "samples_per_s": round(pace * self.batch_size, 1)}


class Reporter:
    """Use as a context manager. `speaks` is False in all processes but one, which then have no sinks either."""

    def __init__(self, recipe: Recipe, sinks: Sequence[Sink], done: int, speaks: bool) -> None:
        self._console = Console(stderr=True, quiet=not speaks, highlight=False, soft_wrap=True)
        self._sinks = sinks
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[state]}"), console=self._console)
        self._bar.disable = not self._console.is_terminal
        self._run = self._bar.add_task(recipe.name, total=recipe.train.steps, completed=done, state="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()
        for sink in self._sinks:
            sink.close()

    def started(self, facts: dict[str, Any]) -> None:
        """What the run computes with."""
        self._write({"event": "start", **facts})

    def steps(self, line: dict[str, Any]) -> None:
        """A line of the log: means over the last steps."""
        self._write({"event": "steps", **line})
        exact = "-" if line["exact"] is None else f"{line['exact']:.3f}"
        segments = "-" if line["segments"] is None else f"{line['segments']:.1f}"
        state = f"loss {line['token_loss']:.3f}, exact {exact}, segments {segments}, {line['steps_per_s']:.2f} steps/s"
        self._bar.update(self._run, completed=line["step"], state=state)
        if not self._console.is_terminal:
            self._console.print(f"step {line['step']}: {state}")

    def judged(self, step: int, source: str, exact: float, segments: float) -> None:
        """The verdict of the held-out puzzles of one source."""
        self._write({"event": "heldout", "step": step, "source": source, "exact": exact, "segments": segments})
        self._console.print(f"step {step}: held out from {source}: exact {exact:.3f}, segments {segments:.2f}")

    def warn(self, step: int, text: str) -> None:
        """A sign that something goes wrong, and what to do."""
        self._write({"event": "warning", "step": step, "text": text})
        self._console.print(f"step {step}: warning: {text}", markup=False)

    def say(self, text: str) -> None:
        """Something that only people want to know."""
        self._console.print(text, markup=False)

    def _write(self, entry: dict[str, Any]) -> None:
        for sink in self._sinks:
            sink.write(entry)
