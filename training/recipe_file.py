"""Reads recipes: TOML files that may build on one another, and `key=value` overrides, each value checked by its key."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from model.config import HRMConfig
from model.tasks import get_task, task_names
from training.recipe import DataRecipe, Recipe, RecipeError, TrainRecipe

RECIPE_DIR = Path(__file__).parent / "recipes"

_TEXTS = ("summary", "cost", "accuracy", "prepare")
_SECTIONS: dict[str, type[Any]] = {"data": DataRecipe, "train": TrainRecipe}
_BASE = "base"
"""Names the recipe whose values hold where this one has none."""


def recipe_names() -> list[str]:
    """The recipes that ship with the package."""
    return sorted(path.stem for path in RECIPE_DIR.glob("*.toml"))


def load_recipe(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by name or path and apply `key=value` overrides; raises RecipeError."""
    raw = _read(name)
    for override in overrides:
        _override(raw, override)
    return _build(Path(name).stem, raw)


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """What `Recipe.to_dict` gave; raises RecipeError."""
    return _build(values["name"], {key: value for key, value in values.items() if key != "name"})


def differences(recipe: Recipe) -> list[str] | None:
    """The overrides that make a recipe out of the shipped one of its name; None where there is no such."""
    if recipe.name not in recipe_names():
        return None
    shipped, wanted = load_recipe(recipe.name).to_dict(), recipe.to_dict()
    return [
        f"{section}.{key}={_toml(value)}"
        for section in ("task", "model", *_SECTIONS)
        for key, value in wanted[section].items()
        if shipped[section].get(key) != value
    ]


def _read(name: str) -> dict[str, Any]:
    """A recipe's tables, over those of the recipe that it is based on."""
    path = Path(name) if name.endswith(".toml") else RECIPE_DIR / f"{name}.toml"
    if not path.is_file():
        raise RecipeError(f"no recipe {name!r}; known: {', '.join(recipe_names())}")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path.name}: {error}") from None
    if isinstance(raw.get("task"), str):
        raw["task"] = _description(raw["task"])
    if _BASE not in raw:
        return raw
    base = raw.pop(_BASE)
    if base not in recipe_names() or base == path.stem:
        raise RecipeError(f"{path.name}: no recipe {base!r} to build on; known: {', '.join(recipe_names())}")
    return _over(_read(base), raw)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    tables = [key for key in ("model", *_SECTIONS) if key in below and key in above]
    return {**below, **above, **{key: {**below[key], **above[key]} for key in tables}}


def _description(task: str) -> dict[str, Any]:
    if task not in task_names():
        raise RecipeError(f"unknown task {task!r}; known: {', '.join(task_names())}, or a description: task.kind")
    return get_task(task).describe()


def _override(raw: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    section, dot, name = key.partition(".")
    if not separator:
        raise RecipeError(f"an override reads key=value, not {text!r}")
    if not dot:
        homes = [section for section, kind in _SECTIONS.items() if key in _fields(kind)]
        if not homes:
            raise RecipeError(_unknown(key, [name for kind in _SECTIONS.values() for name in _fields(kind)]))
        section, name = homes[0], key
    sections = {**_SECTIONS, "model": HRMConfig}
    if section not in (*sections, "task"):
        raise RecipeError(_unknown(key, [f"{s}.{name}" for s, kind in sections.items() for name in _fields(kind)]))
    if section in sections and name not in _fields(sections[section]):
        raise RecipeError(_unknown(key, [f"{section}.{name}" for name in _fields(sections[section])]))
    raw.setdefault(section, {})[name] = _parse_value(value)


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml(value: Any) -> str:
    """As an override says it."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _build(name: str, raw: dict[str, Any]) -> Recipe:
    for key in raw:
        if key not in (known := ("task", "model", *_TEXTS, *_SECTIONS)):
            raise RecipeError(f"{name}: {_unknown(key, known)}")
    for key in ("task", "model", *_SECTIONS):
        if not isinstance(raw.get(key, {}), dict):
            raise RecipeError(f"{name}: {key} must be a table")
    if "task" not in raw:
        raise RecipeError(f"{name}: the key 'task' is missing")
    values: dict[str, Any] = {key: str(raw.get(key, "")) for key in _TEXTS}
    values |= {key: _section(kind, key, raw.get(key, {})) for key, kind in _SECTIONS.items()}
    return Recipe(name=name, task=raw["task"], model=raw.get("model", {}), **values)


def _section(kind: type[Any], section: str, values: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    read: dict[str, Any] = {}
    for name, given in values.items():
        if name not in hints:
            raise RecipeError(_unknown(f"{section}.{name}", [f"{section}.{n}" for n in hints]))
        value = _as_list(given) if get_origin(hints[name]) is list else given
        if not _fits(value, hints[name]):
            raise RecipeError(f"{section}.{name}: {value!r} is not {_called(hints[name])}")
        read[name] = value
    return kind(**read)


def _as_list(given: Any) -> Any:
    """A list as it is; what stands alone is a list of one, and text is split at its commas."""
    if isinstance(given, str):
        return given.split(",")
    return given if isinstance(given, list) else [given]


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has a field's type; numbers are never below 0."""
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if options := get_args(hint):
        return value in options
    if hint in (int, float):
        return type(value) in (int, hint) and value >= 0
    return type(value) is hint


def _called(hint: Any) -> str:
    if get_origin(hint) is list:
        return f"a list, each {_called(get_args(hint)[0])}"
    if options := get_args(hint):
        return f"one of {', '.join(options)}"
    return {int: "a whole number from 0", float: "a number from 0", bool: "true or false", str: "text"}[hint]


def _fields(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _unknown(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)
    return f"unknown key {key!r}; the nearest is {near[0]!r}"
