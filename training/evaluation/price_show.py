"""The price of accuracy as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from rich.console import Console

from training.evaluation.price import EVERYTHING, Price
from training.evaluation.show import exact_cells, make_table, share_cell
from training.pictures import COLOURS, GREY, panels, save_picture


def show_prices(prices: Sequence[Price], console: Console) -> None:
    """Print a table for each group of puzzles."""
    for name in prices[0].groups:
        results = [(price, price.groups[name]) for price in prices]
        graded = any(result.optimal for _, result in results)
        columns = ["attempts", "each up to", "exact", "95 %", "valid", *(["best"] if graded else [])]
        title = f"{name}: {results[0][1].exact.total} puzzles; segments and attempts spent on each, on average"
        table = make_table(title, "mode", *columns, "segments", "attempts")
        for price, result in results:
            optimal = [share_cell(result.optimal)] if graded else []
            table.add_row(
                price.mode, str(price.attempts), str(price.limit), *exact_cells(result.exact),
                share_cell(result.valid), *optimal, f"{result.segments:.2f}", f"{result.attempts:.2f}",
            )  # fmt: skip
        console.print(table)


def draw_prices(prices: Sequence[Price], path: Path, title: str) -> None:
    """Draw exact accuracy against average segments, a panel for each group of puzzles.

    A line joins budgets that differ in one number: of attempts in mode verified, of segments in the others.
    """
    names = list(prices[0].groups)
    figure, axes = panels(len(names))
    figure.suptitle(title)
    for axis, name in zip(axes, names, strict=True):
        _draw_group(axis, prices, name)
        axis.set_title("all puzzles" if name == EVERYTHING else name)
    axes[0].legend(loc="lower right", fontsize="small")
    save_picture(figure, path)


def _draw_group(axis: Axes, prices: Sequence[Price], name: str) -> None:
    lines: dict[str, list[Price]] = {}
    for price in prices:
        label = f"verified, up to {price.limit} segments an attempt" if price.mode == "verified" else price.mode
        lines.setdefault(label, []).append(price)
    colours = iter(COLOURS * len(lines))
    for label, of in lines.items():
        verified = of[0].mode == "verified"
        points = [(price.groups[name].segments, price.groups[name].exact.value) for price in of]
        colour, line = (next(colours), "o-") if verified else (GREY, "s--")
        axis.plot(*zip(*points, strict=True), line, color=colour, label=label, markersize=4)
        for price, point in zip(of, points, strict=True):
            number = price.attempts if verified else price.limit
            axis.annotate(str(number), point, xytext=(0, 5), textcoords="offset points", fontsize=7, ha="center")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set(xlabel="segments spent on a puzzle, on average", ylabel="exact")
