"""`hrm-train fit`: run a recipe to its end, watched, logged, saved, and resumed where it was left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from model.tasks import get_task
from training.data.pool import Pool, Source
from training.data.sources import load_sources
from training.evaluate import solve
from training.interrupt import stop_on_signals
from training.recipe import Recipe
from training.report import Reporter, Window
from training.state import load_state, save_state
from training.trainer import Trainer

RECIPE_FILE = "recipe.json"
LOG_FILE = "log.jsonl"
BEST_DIR = "best"
LOG_EVERY = 50
"""Steps whose means make one line of the log."""

_FIXED = (("task",), ("model",), ("train", "batch_size"), ("train", "seed"), ("train", "optimiser"))
"""What a resumed run must have in common with its beginning."""


class RunError(RuntimeError):
    """A run cannot start or go on; the message says what to do."""


def fit(recipe: Recipe, run_dir: Path, device: str = "auto") -> bool:
    """Train, from the saved state of `run_dir` where there is one; False if a signal stopped it before its end.

    Raises:
        RunError: the run was started with another recipe.
        StateError: the saved state is damaged.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    _record(recipe, run_dir)
    task = get_task(recipe.task)
    trained, heldout = split_sources(load_sources(recipe, task, run_dir), recipe.data.heldout)
    trainer = Trainer(recipe, Pool(task, trained, recipe.train.seed, recipe.data.easy_steps), device)
    best = -1.0
    if (saved := load_state(run_dir)) is not None:
        trainer.load(saved.tensors, saved.facts["step"])
        best = saved.facts["best"]
    settings = recipe.train
    with stop_on_signals() as stopped, Reporter(recipe, run_dir / LOG_FILE, trainer.step) as reporter:
        window = Window()
        while trainer.step < settings.steps and not stopped():
            window.add(trainer.advance())
            step, last = trainer.step, trainer.step == settings.steps
            if step % LOG_EVERY == 0 or last:
                reporter.steps(window)
                window = Window()
            if step % settings.eval_every == 0 or last:
                accuracy = _judge(trainer, heldout, reporter)
                if accuracy > best:
                    best = accuracy
                    save_state(run_dir / BEST_DIR, trainer.weights(), {"step": step, "exact": best})
            if step % settings.save_every == 0 or last or stopped():
                save_state(run_dir, trainer.tensors(), {"step": step, "best": best})
    return trainer.step >= settings.steps


def split_sources(sources: list[Source], heldout: int) -> tuple[list[Source], list[Source]]:
    """Set the same number of puzzles aside from every source, `heldout` in all."""
    pairs = [source.split(min(heldout // len(sources), len(source) // 2)) for source in sources]
    return [trained for trained, _ in pairs], [judged for _, judged in pairs]


def _judge(trainer: Trainer, heldout: list[Source], reporter: Reporter) -> float:
    """Exact accuracy of the EMA weights under ACT: the mean over sources, each reported."""
    accuracies = []
    for source in heldout:
        solved = solve(trainer.ema.model, source.puzzles, trainer.config.halt_max_segments, dtype=trainer.dtype)
        accuracies.append(float(solved.exact(source.answers).mean()))
        reporter.judged(trainer.step, source.name, accuracies[-1], float(solved.segments.mean()))
    return float(np.mean(accuracies))


def _record(recipe: Recipe, run_dir: Path) -> None:
    """Write the recipe down, or make sure that it fits the one the run was started with."""
    path, wanted = run_dir / RECIPE_FILE, recipe.to_dict()
    if path.exists():
        recorded = json.loads(path.read_text())
        for keys in _FIXED:
            old, new = recorded, wanted
            for key in keys:
                old, new = old[key], new[key]
            if old != new:
                raise RunError(
                    f"{run_dir} was started with {'.'.join(keys)} = {old!r}, not {new!r}; choose another --run"
                )
    path.write_text(json.dumps(wanted, indent=2) + "\n")
