"""How many segments a network uses under ACT, and how often it is right, by difficulty."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from training.evaluation.evaluate import Evaluation
from training.pictures import COLOURS, panels


def measure(evaluation: Evaluation) -> dict[str, Any]:
    """From an evaluation: by bin, the puzzles, the mean segments and the share of exact answers."""
    return {
        "measure": evaluation.measure,
        "max_segments": evaluation.limit,
        "bins": [
            {
                "name": name,
                "puzzles": accuracy.exact.total,
                "segments": accuracy.segments,
                "segments_of_exact": accuracy.of_exact,
                "exact": accuracy.exact.value,
                "interval": list(accuracy.exact.interval),
            }
            for name, accuracy in evaluation.difficulties.items()
        ],
    }


def draw(numbers: dict[str, Any]) -> Figure:
    """Segments on the left, accuracy on the right."""
    bins = numbers["bins"]
    places = np.arange(len(bins))
    figure, (left, right) = panels(2)
    left.bar(places - 0.2, [each["segments"] for each in bins], 0.4, color=COLOURS[0], label="all")
    left.bar(places + 0.2, [each["segments_of_exact"] for each in bins], 0.4, color=COLOURS[5], label="if exact")
    left.set(ylabel=f"mean segments (M_max {numbers['max_segments']})")
    left.legend(loc="lower right", frameon=True)
    shares = np.array([each["exact"] for each in bins])
    low, high = np.array([each["interval"] for each in bins]).T
    errors = np.maximum(0, [shares - low, high - shares])
    right.errorbar(places, shares, yerr=errors, fmt="o", color=COLOURS[0], capsize=3)
    right.set(ylabel="exact, with 95 % interval", ylim=(0, 1.02))
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axis in (left, right):
        labels = [f"{each['name']} ({each['puzzles']})" for each in bins]
        axis.set_xticks(places, labels, fontsize=8, rotation=20, ha="right")
        axis.set_xlabel(f"{numbers['measure']} (puzzles)")
    return figure
