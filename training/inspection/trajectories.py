"""The way a state takes through its space while one puzzle is solved, seen in its two main directions (Figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from model.hrm import HRM
from training.evaluation.questions import Questions
from training.inspection.baselines import Baseline
from training.inspection.calls import calls
from training.pictures import panels


@torch.inference_mode()
def measure(model: HRM, question: Questions, segments: int, baselines: Sequence[Baseline]) -> dict[str, Any]:
    """Principal components of the states after every step of one question."""
    ways: dict[str, list[NDArray[np.float64]]] = {"z_H": [], "z_L": []}
    for call in calls(model, question, segments):
        ways[f"z_{call.module}"].append(_flat(call.after))
    ways |= {baseline.kind: [_flat(state) for state in baseline.states(question)] for baseline in baselines}
    return {"segments": segments, "trajectories": {name: _components(np.stack(way)) for name, way in ways.items()}}


def draw(numbers: dict[str, Any]) -> Figure:
    """A panel for each way; colours go from the first step, dark, to the last."""
    ways = numbers["trajectories"]
    figure, axes = panels(len(ways), width=4.4, height=3.8, columns=4)
    for axis, (name, way) in zip(axes, ways.items(), strict=True):
        points = np.array(way["points"])
        axis.plot(points[:, 0], points[:, 1], color="#bbbbbb", linewidth=0.8, zorder=1)
        dots = axis.scatter(points[:, 0], points[:, 1], c=np.arange(1, len(points) + 1), s=14, zorder=2)
        first, second = way["explained"]
        axis.set(title=name, xlabel=f"PC1 ({first:.0%})", ylabel=f"PC2 ({second:.0%})")
        figure.colorbar(dots, ax=axis, label="step", ticks=MaxNLocator(5, integer=True))
    return figure


def _flat(state: torch.Tensor) -> NDArray[np.float64]:
    return state[0].double().flatten().cpu().numpy()


def _components(states: NDArray[np.float64]) -> dict[str, Any]:
    """The first two principal components of states [steps, n], and the share of the variance that each explains."""
    centred = states - states.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(states), 2))
    kept = min(2, len(s))
    points[:, :kept] = (u * s)[:, :kept]
    shares = np.zeros(2)
    shares[:kept] = s[:kept] ** 2 / max(float((s**2).sum()), 1e-30)
    return {"points": points.round(5).tolist(), "explained": shares.round(5).tolist()}
