"""`hrm-train publish`: put a run's best weights into the registry, with canaries and a card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import Canary, CheckpointInfo, write_checkpoint
from model.config import HRMConfig
from model.device import pick_device
from model.hrm import HRM
from model.registry import Registry
from model.tasks import Task, get_task
from model.weights import serialise
from training.data.pool import Source
from training.data.sources import load_sources
from training.evaluate import solve
from training.fit import BEST_DIR, RECIPE_FILE, RunError, split_sources
from training.recipe import Recipe, recipe_from_dict
from training.state import load_state

CANARIES = 16
CANARY_MARGIN = 0.25
"""How far below its own accuracy on the canaries a checkpoint may fall before it is refused."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished or stopped run: its recipe, its best weights and what is known of them."""

    recipe: Recipe
    task: Task
    model: HRM
    step: int


def load_run(run_dir: Path, device: str = "auto") -> Run:
    """Read a run's best weights; raises RunError where it has none yet."""
    if not (run_dir / RECIPE_FILE).is_file():
        raise RunError(f"{run_dir} is no run: {RECIPE_FILE} is missing")
    recipe = recipe_from_dict(json.loads((run_dir / RECIPE_FILE).read_text()))
    saved = load_state(run_dir / BEST_DIR)
    if saved is None:
        raise RunError(f"{run_dir} has not been judged yet: train it to its first evaluation")
    task = get_task(recipe.task)
    config = HRMConfig.from_dict({"vocab_size": task.vocab_size, "seq_len": task.seq_len} | recipe.model)
    model = HRM(config).to(pick_device(device))
    model.load_state_dict(saved.tensors)
    return Run(recipe, task, model.requires_grad_(False).eval(), int(saved.facts["step"]))


def publish(run_dir: Path, registry: Registry, name: str | None = None, use: bool = True) -> CheckpointInfo:
    """Write the run's best weights as a new version of task `name`, and make it the current one.

    The canaries are held-out puzzles; the card says what it was trained on and how well it does.
    """
    run = load_run(run_dir)
    _, heldout = split_sources(load_sources(run.recipe, run.task, run_dir), run.recipe.data.heldout)
    limit = run.model.config.halt_max_segments
    accuracy = {}
    for source in heldout:
        solved = solve(run.model, source.puzzles, limit)
        accuracy[source.name] = {
            "puzzles": len(source),
            "exact": round(float(solved.exact(source.answers).mean()), 4),
            "mean_segments": round(float(solved.segments.mean()), 3),
        }
    canaries, exact = _canaries(run, heldout)
    name = name or run.recipe.task
    version = registry.next_version(name, datetime.now(UTC).date())
    card: dict[str, Any] = {
        "recipe": run.recipe.to_dict(),
        "step": run.step,
        "data": [source.card() for source in load_sources(run.recipe, run.task, run_dir)],
        "heldout": accuracy,
        "max_segments": limit,
        "torch": torch.__version__,
        "published": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    info = write_checkpoint(
        registry.writable / name / version,
        task=run.task.describe(),
        architecture=run.model.config,
        weights=serialise(run.model),
        canaries=canaries,
        canary_accuracy=max(0.0, round(exact - CANARY_MARGIN, 3)),
        training=card,
    )
    return registry.use(name, version) if use else info


def _canaries(run: Run, heldout: list[Source]) -> tuple[list[Canary], float]:
    """A few held-out puzzles from every source, and the share of them that the model answers exactly."""
    share = max(1, CANARIES // len(heldout))
    canaries, exact = [], []
    for source in heldout:
        puzzles, answers = source.puzzles[:share], source.answers[:share]
        exact += solve(run.model, puzzles, run.model.config.halt_max_segments).exact(answers).tolist()
        canaries += [
            Canary(run.task.format(puzzle, like=""), run.task.format(answer, like=""))
            for puzzle, answer in zip(puzzles, answers, strict=True)
        ]
    return canaries, sum(exact) / len(exact)
