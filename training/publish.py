"""`hrm-train publish`: put a run's best weights into the registry, with canaries and a card."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.calibration import Calibration
from model.checkpoint import Canary, CheckpointInfo, Precision, write_checkpoint
from model.config import HaltRule
from model.device import pick_device
from model.registry import Registry
from model.tasks import Task
from model.weights import write_weights
from training.card import model_card
from training.data.folder import is_dataset, read_identifiers
from training.data.pool import Source
from training.data.sources import load_sources
from training.evaluation.calibrate import fit_calibration
from training.evaluation.evaluate import doublings
from training.evaluation.unroll import Trajectory, at, unroll
from training.fit import split_sources
from training.log import last_start
from training.recipe import Recipe
from training.recipe_file import differences
from training.subject import best_network, read_run

CANARIES = 16
CANARY_MARGIN = 0.25
"""How far below its own accuracy on the canaries a checkpoint may fall before it is refused."""
LOOK_AHEAD = 4
"""The card says how accurate the network is up to this many times M_max."""


def publish(
    run_dir: Path,
    registry: Registry,
    name: str | None = None,
    *,
    use: bool = True,
    device: str = "auto",
    precision: Precision | None = None,
    halt_rule: HaltRule | None = None,
) -> CheckpointInfo:
    """Write a run's best weights as a new version of task `name`, and make it the current one.

    The canaries are held-out puzzles; the card says what it was trained on and how well it does. `precision` is what
    it is to be served in; None: in whatever the worker's machine is fast in. `halt_rule` is what it halts by in place
    of what it was trained with; all that is measured here is then measured by that rule.

    Raises:
        RunError, StateError: The run has no weights yet, or they cannot be read.
        DataError: Its data is no longer there: the held-out puzzles are part of it.
        CheckpointError: The registry cannot be written.
    """
    recipe, saved = read_run(run_dir)
    task = recipe.codec
    model = best_network(recipe, saved).to(pick_device(device))
    if halt_rule is not None:
        model.config = replace(model.config, halt_rule=halt_rule)
    sources = load_sources(recipe, task, run_dir)
    _, heldout = split_sources(sources, recipe.data.heldout)
    limit = model.config.halt_max_segments
    said = [
        unroll(model, task, source.puzzles, source.answers, source.puzzle_ids, segments=LOOK_AHEAD * limit)
        for source in heldout
    ]
    identifiers = _identifiers(recipe)
    canaries, exact = _canaries(task, heldout, said, identifiers)
    name = name or recipe.task_name
    version = registry.next_version(name, datetime.now(UTC).date())
    start = last_start(run_dir)
    training: dict[str, Any] = {
        "recipe": recipe.to_dict(),
        "step": int(saved.facts["step"]),
        "seconds": saved.facts.get("seconds"),
        "hardware": start.get("hardware"),
        "precision": start.get("precision"),
        "judged_by": "test" if any(source.heldout is not None for source in sources) else "train",
        # What these weights saw, be it more or less than the recipe names by now; older states do not say.
        "data": saved.facts.get("data") or [source.card() for source in sources],
        "heldout": {source.name: _accuracy(s) for source, s in zip(heldout, said, strict=True)},
        "max_segments": limit,
        "torch": torch.__version__,
        "published": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    info = write_checkpoint(
        registry.place(name, version),
        task=task.describe(),
        architecture=model.config,
        weights=lambda path: write_weights(model, path),
        canaries=canaries,
        canary_accuracy=max(0.0, round(exact - CANARY_MARGIN, 3)),
        training=training,
        precision=precision,
        calibration=_calibrate(said),
        identifiers={text: row for row, text in enumerate(identifiers)} if identifiers else None,
        card=model_card(name, version, model, training, differences(recipe)),
    )
    registry.share(name, version)
    return registry.use(name, version) if use else info


def _accuracy(said: Trajectory) -> dict[str, Any]:
    """Of one source's held-out puzzles: under ACT, and after every number of segments."""
    halts = said.halts()
    numbers = sorted({*doublings(said.exact.shape[1]), said.limit})
    return {
        "puzzles": len(said),
        "exact": round(float(at(said.exact, halts).mean()), 4),
        "mean_segments": round(float(halts.mean()), 3),
        "exact_by_segments": {str(n): round(float(said.exact[:, n - 1].mean()), 4) for n in numbers},
    }


def _calibrate(said: list[Trajectory]) -> Calibration:
    """From how every held-out puzzle ended under ACT."""
    ends = [(at(each.confidence, h), at(each.q_halt, h), at(each.exact, h)) for each in said for h in (each.halts(),)]
    return fit_calibration(*(np.concatenate(column) for column in zip(*ends, strict=True)))


def _canaries(
    task: Task, heldout: list[Source], said: list[Trajectory], identifiers: list[str]
) -> tuple[list[Canary], float]:
    """A few held-out puzzles from every source, and the share of them that the model answers exactly."""
    share = max(1, CANARIES // len(heldout))
    canaries, exact = [], []
    for source, answers in zip(heldout, said, strict=True):
        few = source.rows(np.arange(min(share, len(source))))
        exact += at(answers.exact, answers.halts())[: len(few)].tolist()
        names = [None] * len(few) if few.puzzle_ids is None else [identifiers[row] for row in few.puzzle_ids]
        canaries += [
            Canary(task.format(puzzle, like=""), task.format(answer, like=""), name)
            for puzzle, answer, name in zip(few.puzzles, few.answers, names, strict=True)
        ]
    return canaries, sum(exact) / len(exact)


def _identifiers(recipe: Recipe) -> list[str]:
    """The names of the puzzle embeddings, by row; none where all puzzles share one."""
    named = [read_identifiers(Path(path)) for path in recipe.data.dataset if is_dataset(Path(path))]
    return next((names for names in named if len(names) > 1), [])
