"""What a run writes down when it starts, and what it must keep to when it goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.data.pool import Source
from training.errors import RunError
from training.one_move import in_one_move
from training.recipe import Recipe
from training.run_files import BEST_DIR, RECIPE_FILE
from training.state import STATE_FILE
from training.subject import read_recipe

_FIXED = ("task", "model", "train.batch_size", "train.rotation", "train.seed", "train.optimiser", "train.init_from")
"""What a resumed run must have in common with its beginning."""


def require_same_run(recipe: Recipe, run_dir: Path) -> None:
    """Raise RunError where `run_dir` has saved something under a recipe that this one cannot go on from."""
    saved = any((folder / STATE_FILE).exists() for folder in (run_dir, run_dir / BEST_DIR))
    if not saved or not (run_dir / RECIPE_FILE).exists():
        return
    recorded, wanted = read_recipe(run_dir).to_dict(), recipe.to_dict()
    for key in _FIXED:
        old, new = _value(recorded, key), _value(wanted, key)
        if old != new:
            raise RunError(f"{run_dir} was started with {key} = {old!r}, not {new!r}; choose another --run")


def trained_on(run_dir: Path, before: Sequence[dict[str, Any]], trained: Sequence[Source]) -> list[dict[str, Any]]:
    """The cards of all that a run has trained on when it goes on with `trained`, from those that it had `before`.

    What is held out are the last puzzles of each source: it may become less, and whole sources may come or go.

    Raises:
        RunError: Puzzles that it has trained on would be held out; or might be, since data was replaced by other data.
    """
    old = {card["sha256"]: card for card in before}
    new = {source.sha256: source.card() for source in trained}
    for sha256, card in new.items():
        if sha256 in old and card["count"] < old[sha256]["count"]:
            known = old[sha256]["count"] - card["count"]
            raise RunError(
                f"{run_dir} has trained on {known} of the puzzles of {card['name']} that would now be held out; "
                f"lower data.heldout or choose another --run"
            )
    gone = [card["name"] for sha256, card in old.items() if sha256 not in new]
    come = [card["name"] for sha256, card in new.items() if sha256 not in old]
    if gone and come:  # the new may be the old with other rows, or in another order
        raise RunError(
            f"{run_dir} has trained on {gone[0]} as it was, and might know held-out puzzles of {come[0]} as it is now; "
            f"keep the old data beside the new or choose another --run"
        )
    return list((old | new).values())


def write_recipe(recipe: Recipe, run_dir: Path) -> None:
    """Write the recipe down, in one move; raises OSError where the disk refuses."""
    with in_one_move(run_dir / RECIPE_FILE) as partial:
        partial.write_text(json.dumps(recipe.to_dict(), indent=2) + "\n")


def _value(recipe: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return recipe[section][name] if name else recipe[section]
