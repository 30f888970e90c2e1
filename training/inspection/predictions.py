"""What a network says after each segment, as one picture per puzzle (the paper's Figure 7)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from model.act import wants_to_halt
from model.hrm import HRM
from model.tasks import Task
from training.evaluation.questions import Questions
from training.inspection.board import draw_board
from training.inspection.calls import inputs
from training.pictures import panels


@torch.inference_mode()
def measure(model: HRM, question: Questions, segments: int) -> dict[str, Any]:
    """One question under ACT, for so many segments at most: tokens and Q-values after each."""
    embedding, carry, said = inputs(model, question), model.initial_carry(1), []
    for _ in range(segments):
        carry, output = model.reason(carry, embedding)
        said.append(
            {
                "tokens": output.logits[0].argmax(-1).tolist(),
                "q_halt": float(output.q_halt),
                "q_continue": float(output.q_continue),
            }
        )
        if wants_to_halt(output.q_halt, output.q_continue, model.config.halt_rule):
            break
    return {"puzzle": question.puzzles[0].tolist(), "answer": question.answers[0].tolist(), "segments": said}


def draw(task: Task, numbers: dict[str, Any]) -> Figure:
    """The puzzle, then a panel for each segment."""
    puzzle, answer = (np.array(numbers[name], dtype=np.uint8) for name in ("puzzle", "answer"))
    figure, axes = panels(1 + len(numbers["segments"]), width=2.3, height=2.5, columns=6)
    draw_board(axes[0], task, puzzle, puzzle, answer)
    axes[0].set_title("puzzle", fontsize=9)
    before = None
    for number, (axis, said) in enumerate(zip(axes[1:], numbers["segments"], strict=True), 1):
        tokens = np.array(said["tokens"], dtype=np.uint8)
        draw_board(axis, task, tokens, puzzle, answer, before)
        graded = answer > 0
        wrong = int((tokens != answer)[graded].sum())
        verdict = "exact" if not wrong else f"{wrong} wrong"
        axis.set_title(f"segment {number}: {verdict}, q_halt {said['q_halt']:.1f}", fontsize=8)
        before = tokens
    return figure
