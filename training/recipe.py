"""Recipes: everything a training run needs to know, in one small TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from model.hrm import Gradient

RECIPE_DIR = Path(__file__).parent / "recipes"


class RecipeError(ValueError):
    """A recipe or an override is wrong; the message names the key."""


@dataclass(slots=True)
class DataRecipe:
    """What the run trains on and is judged on; the sources are mixed by weight."""

    generate: int = 0
    """Puzzles to generate before the run (0: none)."""
    generate_weight: float = 1.0
    clues: list[int] = field(default_factory=lambda: [17, 35])
    """Fewest and most clues of a generated puzzle; minimal puzzles keep what they have."""
    minimal_share: float = 0.5
    """Share of the generated puzzles in which no clue can be left out."""
    min_path: int = 0
    """Fewest steps from S to G in a generated maze (0: its longer side)."""
    unique_path: bool = False
    """Generate only mazes with a single shortest path, so that there is one right answer."""
    csv: list[str] = field(default_factory=list)
    """Files in the CSV format (source,question,answer,rating) to mix in."""
    csv_weight: float = 1.0
    """Of each file."""
    dataset: list[str] = field(default_factory=list)
    """Dataset folders to mix in (`hrm-train data build`, or upstream's)."""
    dataset_weight: float = 1.0
    """Of each folder."""
    easy_steps: int = 0
    """Steps in which harder puzzles (more cells to find) come in little by little (0: all from the start)."""
    heldout: int = 512
    """Puzzles set aside, drawn evenly from all sources, to judge the run by."""


@dataclass(slots=True)
class TrainRecipe:
    """Optimisation."""

    steps: int = 10_000
    batch_size: int = 128
    optimiser: Literal["adam_atan2", "muon"] = "adam_atan2"
    """adam_atan2 is the paper's; muon learns several times more from a step where the batch is small."""
    lr: float = 1e-4
    warmup_steps: int = 2000
    final_lr_share: float = 1.0
    """The learning rate falls linearly to this share of itself over the last fifth of the run (1: constant)."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    weight_decay: float = 1.0
    ema: float = 0.999
    gradient: Gradient = "last_step"
    exploration: float = 0.1
    """Probability that a fresh row draws its M_min from 2..M_max."""
    target_share: float = 1.0
    """Share of the rows whose q_continue is trained each step; its target costs them one more segment."""
    seed: int = 0
    precision: str = "auto"
    compile: bool = True
    eval_every: int = 1000
    save_every: int = 250


@dataclass(slots=True)
class Recipe:
    """A named run."""

    name: str
    task: str
    summary: str
    model: dict[str, Any]
    data: DataRecipe
    train: TrainRecipe

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the run's state and the checkpoint's card."""
        return dataclasses.asdict(self)


def recipe_names() -> list[str]:
    """The recipes that ship with the package."""
    return sorted(path.stem for path in RECIPE_DIR.glob("*.toml"))


def load_recipe(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by name or path and apply `key=value` overrides; raises RecipeError."""
    path = Path(name) if name.endswith(".toml") else RECIPE_DIR / f"{name}.toml"
    if not path.is_file():
        raise RecipeError(f"no recipe {name!r}; known: {', '.join(recipe_names())}")
    try:
        raw = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path.name}: {error}") from None
    for override in overrides:
        _override(raw, override)
    return _build(path.stem, raw)


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """What `Recipe.to_dict` gave; raises RecipeError."""
    return _build(values["name"], {key: value for key, value in values.items() if key != "name"})


def _override(raw: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    section, dot, name = key.partition(".")
    if not separator:
        raise RecipeError(f"an override reads key=value, not {text!r}")
    sections = {"data": DataRecipe, "train": TrainRecipe}
    if not dot:
        homes = [s for s, kind in sections.items() if key in _fields(kind)]
        if not homes:
            raise RecipeError(_unknown(key, [n for kind in sections.values() for n in _fields(kind)]))
        section, name = homes[0], key
    if section in sections and name not in _fields(sections[section]):
        raise RecipeError(_unknown(key, [f"{section}.{n}" for n in _fields(sections[section])]))
    if section not in (*sections, "model"):
        raise RecipeError(_unknown(key, ["data", "model", "train"]))
    raw.setdefault(section, {})[name] = _parse_value(value)


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(name: str, raw: dict[str, Any]) -> Recipe:
    if unknown := sorted(set(raw) - {"task", "summary", "model", "data", "train"}):
        raise RecipeError(f"{name}: unknown key {unknown[0]!r}")
    if "task" not in raw:
        raise RecipeError(f"{name}: the key 'task' is missing")
    return Recipe(
        name=name,
        task=raw["task"],
        summary=raw.get("summary", ""),
        model=raw.get("model", {}),
        data=_section(DataRecipe, "data", raw.get("data", {})),
        train=_section(TrainRecipe, "train", raw.get("train", {})),
    )


def _section(kind: type[Any], section: str, values: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    read: dict[str, Any] = {}
    for name, given in values.items():
        if name not in hints:
            raise RecipeError(_unknown(f"{section}.{name}", [f"{section}.{n}" for n in hints]))
        value = given.split(",") if isinstance(given, str) and get_origin(hints[name]) is list else given
        if not _fits(value, hints[name]):
            raise RecipeError(f"{section}.{name}: {value!r} is not {hints[name]}")
        read[name] = value
    return kind(**read)


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if options := get_args(hint):
        return value in options
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is hint


def _fields(kind: type[Any]) -> list[str]:
    return [f.name for f in dataclasses.fields(kind)]


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"unknown key {key!r}; the nearest is {near[0]!r}"
