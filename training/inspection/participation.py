"""How many dimensions a module uses: the participation ratio of its states (the paper's Figure 8).

PR = (sum of l)^2 / (sum of l^2) over the eigenvalues l of the states' covariance: n if n directions vary alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from model.config import HRMConfig
from model.hrm import HRM
from training.evaluation.evaluate import doublings
from training.evaluation.questions import Questions
from training.inspection.calls import calls
from training.pictures import COLOURS, panels

_BATCH = 16


class Moments:
    """Count, sum and products of vectors of `size` features."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.count = 0
        self.sum = torch.zeros(size, dtype=torch.float64, device=device)
        self.products = torch.zeros(size, size, dtype=torch.float64, device=device)

    def add(self, states: Tensor) -> None:
        """Take states [..., size]."""
        rows = states.reshape(-1, states.shape[-1]).double()
        self.count += len(rows)
        self.sum += rows.sum(0)
        self.products += rows.T @ rows

    def participation_ratio(self) -> float:
        """Of everything taken so far."""
        mean = self.sum / self.count
        covariance = self.products / self.count - torch.outer(mean, mean)
        return float(covariance.trace() ** 2 / covariance.square().sum().clamp_min(1e-30))


def measure(model: HRM, questions: Questions, segments: int, seed: int) -> dict[str, Any]:
    """The ratios after 1, 2, 4 ... puzzles, of the network and of the same one before it was trained."""
    torch.manual_seed(seed)
    untrained = untrained_like(model.config).to(model.lm_head.weight.device)
    return {
        "features": model.config.hidden_size,
        "segments": segments,
        "puzzles": doublings(len(questions)),
        "trained": _ratios(model, questions, segments),
        "untrained": _ratios(untrained, questions, segments),
    }


def untrained_like(config: HRMConfig) -> HRM:
    """A network of random weights."""
    return HRM(config).requires_grad_(False).eval()


def draw(numbers: dict[str, Any]) -> Figure:
    """A panel for the trained network, and one for the untrained."""
    figure, axes = panels(2)
    for axis, name in zip(axes, ("trained", "untrained"), strict=True):
        for module, colour in (("z_L", COLOURS[0]), ("z_H", COLOURS[1])):
            axis.plot(numbers["puzzles"], numbers[name][module], "o-", color=colour, label=module)
        axis.set(title=name, xlabel="puzzles", ylabel=f"participation ratio (of {numbers['features']} features)")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.legend()
    highest = max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:
        axis.set_ylim(0, highest)
    return figure


def summary(numbers: dict[str, Any]) -> str:
    """The same in a sentence."""
    (slow, fast), (slow_before, fast_before) = (
        (numbers[name]["z_H"][-1], numbers[name]["z_L"][-1]) for name in ("trained", "untrained")
    )
    return (
        f"participation ratio over {numbers['puzzles'][-1]} puzzles: z_H {slow:.1f}, z_L {fast:.1f}, one by the other "
        f"{slow / fast:.2f}; untrained {slow_before:.1f}, {fast_before:.1f}, {slow_before / fast_before:.2f}"
    )


def _ratios(model: HRM, questions: Questions, segments: int) -> dict[str, list[float]]:
    """By module, after each number of puzzles."""
    moments = {module: Moments(model.config.hidden_size, model.lm_head.weight.device) for module in ("H", "L")}
    ratios: dict[str, list[float]] = {"z_H": [], "z_L": []}
    done = 0
    for number in doublings(len(questions)):
        for start in range(done, number, _BATCH):
            rows = np.arange(start, min(start + _BATCH, number))
            for call in calls(model, questions.rows(rows), segments):
                moments[call.module].add(call.after)
        done = number
        for module, of in moments.items():
            ratios[f"z_{module}"].append(of.participation_ratio())
    return ratios
