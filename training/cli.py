"""`hrm-train`: build data, fit a recipe, judge a checkpoint, publish a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from model.checkpoint import CheckpointError
from model.config import ConfigError
from model.device import DeviceError
from training.data.errors import DataError
from training.recipe import RecipeError, load_recipe, recipe_names


def main(arguments: list[str] | None = None) -> int:
    """Run one command; every mistake of the user's is one line on stderr and exit code 2."""
    from training.fit import RunError  # noqa: PLC0415 (torch takes seconds to import: not for --help)
    from training.state import StateError  # noqa: PLC0415

    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except (RecipeError, RunError, StateError, CheckpointError, ConfigError, DeviceError, DataError) as error:
        print(f"hrm-train: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _parser() -> argparse.ArgumentParser:
    from training.data.cli import add_parser  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="hrm-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train; goes on where the run was left")
    fit.add_argument("recipe", help=f"one of {', '.join(recipe_names())}, or a TOML file")
    fit.add_argument("overrides", nargs="*", metavar="key=value", help="for example train.steps=1000 data.csv=my.csv")
    fit.add_argument("--run", type=Path, dest="run_dir", help="directory of the run (runs/RECIPE where left out)")
    fit.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    fit.set_defaults(run=_fit)

    evaluate = commands.add_parser("eval", help="judge a checkpoint on puzzles with known answers")
    evaluate.add_argument("checkpoint", type=Path, help="a checkpoint's directory")
    evaluate.add_argument("data", type=Path, help="a CSV file")
    evaluate.add_argument("--segments", type=int, help="M_max (the checkpoint's own where left out)")
    evaluate.add_argument("--device", default="auto")
    evaluate.set_defaults(run=_eval)

    publish = commands.add_parser("publish", help="put a run's best weights into the registry")
    publish.add_argument("run_dir", type=Path, metavar="RUN")
    publish.add_argument("--registry", type=Path, default=Path("checkpoints"))
    publish.add_argument("--task", help="name in the registry (the recipe's task where left out)")
    publish.set_defaults(run=_publish)

    recipes = commands.add_parser("recipes", help="list the recipes")
    recipes.set_defaults(run=_recipes)

    add_parser(commands)
    return parser


def _fit(parsed: argparse.Namespace) -> int:
    from training.fit import fit  # noqa: PLC0415

    recipe = load_recipe(parsed.recipe, parsed.overrides)
    finished = fit(recipe, parsed.run_dir or Path("runs") / recipe.name, parsed.device)
    if not finished:
        print("hrm-train: stopped and saved; the same command goes on", file=sys.stderr)  # noqa: T201
    return 0 if finished else 130


def _eval(parsed: argparse.Namespace) -> int:
    from training.judge import judge, print_judgement  # noqa: PLC0415

    print_judgement(judge(parsed.checkpoint, parsed.data, parsed.segments, parsed.device))
    return 0


def _publish(parsed: argparse.Namespace) -> int:
    from model.registry import Registry  # noqa: PLC0415
    from training.publish import publish  # noqa: PLC0415

    info = publish(parsed.run_dir, Registry([parsed.registry]), parsed.task)
    print(f"{info.name} is current in {parsed.registry}")  # noqa: T201
    return 0


def _recipes(parsed: argparse.Namespace) -> int:
    for name in recipe_names():
        print(f"{name:24}{load_recipe(name).summary}")  # noqa: T201
    return 0
