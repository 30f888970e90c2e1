"""An evaluation as tables for people, narrow enough for a terminal of 80 columns."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from training.evaluation.evaluate import Accuracy, Evaluation
from training.evaluation.statistics import BINS, Reliability, Share


def show(evaluation: Evaluation, console: Console) -> None:
    """Print everything; what is exact comes with its 95 % interval."""
    console.print(f"{evaluation.puzzles} puzzles, M_max {evaluation.limit}")
    _show_groups("under ACT, by source", evaluation.sources, evaluation.act, console)
    if len(evaluation.difficulties) > 1:
        _show_groups(f"under ACT, by {evaluation.measure}", evaluation.difficulties, None, console)
    _show_segments(evaluation, console)
    error = f"at every segment {evaluation.at_every_segment.error:.3f}"
    _show_reliability("sigmoid(q_halt) at the end", evaluation.at_halt, error, console)
    raw = evaluation.uncalibrated
    error = f"uncalibrated {raw.error:.3f}" if raw else "it is not calibrated"
    _show_reliability("confidence at the end", evaluation.confidence, error, console)
    if evaluation.votes:
        votes = evaluation.votes
        title = f"votes on {votes.tests} tests of {votes.tasks} tasks, in Kaggle's metric and in upstream's"
        table = make_table(title, "", "Kaggle", "95 %", "upstream")
        for attempts, share in votes.outputs.items():
            table.add_row(f"pass@{attempts}", *exact_cells(share), f"{votes.task_means[attempts]:.1%}")
        console.print(table)


def _show_groups(title: str, groups: dict[str, Accuracy], everything: Accuracy | None, console: Console) -> None:
    graded = any(accuracy.optimal for accuracy in groups.values())
    columns = ["", "puzzles", "exact", "95 %", "valid", *(["best"] if graded else []), "cells", "segments"]
    table = make_table(title, *columns, "if exact", "if not")
    for name, accuracy in [*groups.items(), *([("all", everything)] if everything else [])]:
        optimal = [share_cell(accuracy.optimal)] if graded else []
        table.add_row(
            name, str(accuracy.exact.total), *exact_cells(accuracy.exact), share_cell(accuracy.valid), *optimal,
            f"{accuracy.cells:.2%}", *map(_segments, (accuracy.segments, accuracy.of_exact, accuracy.of_wrong)),
        )  # fmt: skip
    console.print(table)


def _show_segments(evaluation: Evaluation, console: Console) -> None:
    table = make_table(
        "by segments", "segments", "exact", "95 %", "valid", "cells", "ACT exact", "95 %", "ACT segments"
    )
    for number, fixed in evaluation.fixed.items():
        limited = evaluation.limited[number]
        table.add_row(
            str(number), *exact_cells(fixed.exact), share_cell(fixed.valid), f"{fixed.cells:.2%}",
            *exact_cells(limited.exact), _segments(limited.segments),
        )  # fmt: skip
    console.print(table)


def _show_reliability(what: str, reliability: Reliability, remark: str, console: Console) -> None:
    title = f"{what}: calibration error {reliability.error:.3f}, {remark}"
    table = make_table(title, "predicted", "puzzles", "mean", "exact")
    columns = zip(reliability.counts, reliability.predicted, reliability.observed, strict=True)
    for i, (count, predicted, observed) in enumerate(columns):
        if count:
            table.add_row(f"{i / BINS:.1f} to {(i + 1) / BINS:.1f}", str(count), f"{predicted:.3f}", f"{observed:.3f}")
    console.print(table)


def make_table(title: str, first: str, *numbers: str) -> Table:
    """A table whose columns hold numbers, but for the first."""
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def exact_cells(share: Share) -> tuple[str, str]:
    """A share and its interval, in percent."""
    low, high = share.interval
    return f"{share.value:.1%}", f"{100 * low:.1f}-{100 * high:.1f}"


def share_cell(share: Share | None) -> str:
    """A share in percent, or a dash."""
    return "-" if share is None else str(share)


def _segments(mean: float) -> str:
    return f"{mean:.2f}" if mean else "-"
