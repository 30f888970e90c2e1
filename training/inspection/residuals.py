"""How far a state moves at each step: HRM's two modules beside networks without hierarchy (the paper's Figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from model.hrm import HRM
from training.evaluation.questions import Questions
from training.inspection.baselines import Baseline
from training.inspection.calls import calls, residual
from training.pictures import COLOURS, panels


@torch.inference_mode()
def measure(model: HRM, questions: Questions, segments: int, baselines: Sequence[Baseline]) -> dict[str, Any]:
    """Residuals of every step, averaged over the questions, and what they come to.

    `spike` is how many times as far z_L moves just after an update of z_H as just before it, the median over these
    updates; `z_H_decay` is z_H's last move relative to its first.
    """
    made = [
        (call.module, float(residual(call.before, call.after).mean())) for call in calls(model, questions, segments)
    ]
    modules, moves = [module for module, _ in made], [move for _, move in made]
    slow = [move for module, move in made if module == "H"]
    spikes = [
        moves[step + 1] / moves[step - 1]
        for step, module in enumerate(modules)
        if module == "H" and 0 < step < len(made) - 1 and moves[step - 1] > 0
    ]
    return {
        "puzzles": len(questions),
        "segments": segments,
        "calls_a_segment": len(model.schedule),
        "hrm": [{"module": module, "residual": move} for module, move in made],
        "spike": float(np.median(spikes)) if spikes else None,
        "spikes": spikes,
        "z_H_decay": slow[-1] / slow[0],
        "baselines": {
            baseline.kind: [float(residual(*pair).mean()) for pair in pairwise(baseline.states(questions))]
            for baseline in baselines
        },
    }


def draw(numbers: dict[str, Any]) -> Figure:
    """A panel for the network, and one for each of the others."""
    figure, axes = panels(1 + len(numbers["baselines"]))
    steps = np.arange(1, len(numbers["hrm"]) + 1)
    moves = np.array([call["residual"] for call in numbers["hrm"]])
    is_slow = np.array([call["module"] == "H" for call in numbers["hrm"]])
    for boundary in range(numbers["calls_a_segment"], len(steps), numbers["calls_a_segment"]):
        axes[0].axvline(boundary + 0.5, color="#bbbbbb", linewidth=0.6)
    axes[0].plot(steps[~is_slow], moves[~is_slow], ".-", color=COLOURS[0], linewidth=0.9, label="z_L")
    axes[0].plot(steps[is_slow], moves[is_slow], "s-", color=COLOURS[1], markersize=4, label="z_H")
    axes[0].set(title=f"HRM, {numbers['segments']} segments", ylabel="forward residual (RMS of the update)")
    axes[0].legend()
    for axis, (kind, residuals), colour in zip(axes[1:], numbers["baselines"].items(), COLOURS[2:], strict=False):
        axis.plot(np.arange(1, len(residuals) + 1), residuals, ".-", color=colour)
        axis.set(title=f"{kind}, trained {numbers['baseline_steps']} steps")
    for axis in axes:
        axis.set_xlabel("step")
        axis.set_ylim(bottom=0)
    return figure


def summary(numbers: dict[str, Any]) -> str:
    """The same in a sentence."""
    spike = "has no update of z_H to follow" if numbers["spike"] is None else f"{numbers['spike']:.2f} times as far"
    return (
        f"residuals: just after an update of z_H, z_L moves {spike} as just before it (median); "
        f"z_H's last move is {numbers['z_H_decay']:.3f} of its first"
    )
