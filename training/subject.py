"""What is judged, looked into or published: a checkpoint, or the best weights of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from model.calibration import Calibration
from model.checkpoint import CONFIG_FILE, read_checkpoint
from model.config import HRMConfig
from model.hrm import HRM
from model.tasks import Task
from model.weights import PUZZLE_TABLE, load_model
from training.errors import RunError
from training.recipe import Recipe
from training.recipe_file import recipe_from_dict
from training.run_files import BEST_DIR, RECIPE_FILE
from training.state import SavedState, load_state


@dataclass(frozen=True, slots=True)
class Subject:
    """A network ready for inference, and the puzzles it was trained for.

    `identifiers` are the rows of its puzzle embedding by name; None: those of the dataset it is asked about.
    `calibration` is what a checkpoint knows of its confidence; a run knows nothing yet.
    """

    name: str
    task: Task
    model: HRM
    identifiers: dict[str, int] | None
    calibration: Calibration | None

    @property
    def config(self) -> HRMConfig:
        """The network's."""
        return self.model.config


def load_subject(path: Path, device: torch.device, dtype: torch.dtype) -> Subject:
    """Read a checkpoint's directory or a run's; raises CheckpointError, RunError or StateError."""
    if (path / RECIPE_FILE).is_file() and not (path / CONFIG_FILE).is_file():
        recipe, saved = read_run(path)
        return Subject(str(path), recipe.codec, best_network(recipe, saved).to(device), None, None)
    info = read_checkpoint(path)
    info.verify()
    return Subject(info.name, info.codec, load_model(info, device, dtype), info.identifiers, info.calibration)


def read_run(run_dir: Path) -> tuple[Recipe, SavedState]:
    """A run's recipe and its best weights; raises RunError where it has none yet."""
    if not (run_dir / RECIPE_FILE).is_file():
        raise RunError(f"{run_dir} is no run: {RECIPE_FILE} is missing")
    recipe = read_recipe(run_dir)
    saved = load_state(run_dir / BEST_DIR)
    if saved is None:
        raise RunError(f"{run_dir} has not been judged yet: train it to its first evaluation")
    return recipe, saved


def read_recipe(run_dir: Path) -> Recipe:
    """The recipe that a run recorded; raises RunError where it is damaged."""
    path = run_dir / RECIPE_FILE
    try:
        return recipe_from_dict(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError) as error:  # a RecipeError is a ValueError
        raise RunError(f"{path}: cannot be read: {error}") from None


def best_network(recipe: Recipe, saved: SavedState) -> HRM:
    """The network of a run's best weights, in fp32 on the CPU."""
    table = saved.tensors.get(PUZZLE_TABLE)
    with torch.device("meta"):
        model = HRM(recipe.architecture(1 if table is None else len(table)))
    model.load_state_dict(saved.tensors, assign=True)
    model.reset_positions(torch.device("cpu"))
    return model.requires_grad_(False).eval()
