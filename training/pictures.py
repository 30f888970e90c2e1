"""How pictures look and where they go: SVG or PNG, by the ending of the file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.errors import RunError
from training.one_move import in_one_move

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Told apart by everybody (Okabe and Ito, 2008)."""
GREY = "#666666"
FORMATS = ("svg", "png")

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "hrm-train",  # the same picture is the same file
}


def panels(count: int, width: float = 5.0, height: float = 3.6, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, each `width` x `height` inches."""
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all; raises RunError where the disk refuses."""
    kind = path.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {}
    try:
        with in_one_move(path) as partial, matplotlib.rc_context(_STYLE):
            figure.savefig(partial, format=kind, dpi=150, metadata=metadata)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None


def save_numbers(numbers: Any, path: Path) -> None:
    """Write what a picture shows as JSON beside it, whole or not at all; raises RunError where the disk refuses."""
    try:
        with in_one_move(path) as partial:
            partial.write_text(json.dumps(numbers) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
