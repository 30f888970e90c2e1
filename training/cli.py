"""`hrm-train`: build data, fit a recipe, judge a network, look into it, publish a run."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import get_args

from model.checkpoint import CheckpointError
from model.config import ConfigError, HaltRule
from model.device import DeviceError
from training.data.errors import DataError
from training.errors import RunError
from training.recipe import RecipeError
from training.recipe_file import load_recipe, recipe_names

_MISTAKES = (RecipeError, RunError, CheckpointError, ConfigError, DeviceError, DataError)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; what the user can mend is one line on stderr and exit code 2, what the system refuses 1.

    Ctrl-C (130) and a reader of our output who has seen enough (141) are quiet.
    """
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:  # None: it was closed before the start
                sys.stdout.flush()  # the interpreter does so at its exit, where nothing can be caught any more
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # takes what could not be written, at the interpreter's exit
        if isinstance(error, BrokenPipeError):
            return 141
        _complain(error)
        return 1


def _run(arguments: list[str] | None) -> int:
    parsed = make_parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except _MISTAKES as error:
        _complain(error)
        return 2


def _complain(error: Exception) -> None:
    rank = os.environ.get("RANK", "0")
    print(f"hrm-train{'' if rank == '0' else f' (process {rank})'}: {error}", file=sys.stderr)  # noqa: T201


def make_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    # Each of these imports what it runs when it is run: torch takes seconds, which --help need not wait for.
    from training.data.cli import add_parser as add_data  # noqa: PLC0415
    from training.evaluation.command import add_parser as add_eval  # noqa: PLC0415
    from training.inspection.command import add_parser as add_inspect  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="hrm-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    recipes = commands.add_parser("recipes", help="list the recipes with their cost and accuracy")
    recipes.set_defaults(run=_recipes)

    fit = commands.add_parser("fit", help="train; goes on where the run was left")
    fit.add_argument("recipe", help="a recipe's name (see `hrm-train recipes`), or a TOML file")
    fit.add_argument("overrides", nargs="*", metavar="key=value", help="for example train.steps=1000 data.csv=my.csv")
    fit.add_argument("--run", type=Path, dest="run_dir", help="directory of the run (runs/RECIPE where left out)")
    fit.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    fit.set_defaults(run=_fit)

    add_eval(commands)
    add_inspect(commands)

    publish = commands.add_parser("publish", help="put a run's best weights into the registry")
    publish.add_argument("run_dir", type=Path, metavar="RUN")
    publish.add_argument("--registry", default="checkpoints", help="a directory or a URL (default checkpoints)")
    publish.add_argument("--task", help="name in the registry (the recipe's task where left out)")
    publish.add_argument("--keep-current", action="store_true", help="write the version, but do not switch to it")
    publish.add_argument(
        "--precision", choices=("fp32", "bf16"), help="to be served in; left out: what a worker's machine is fast in"
    )
    publish.add_argument("--halt-rule", choices=get_args(HaltRule), help="to halt by (as trained, where left out)")
    publish.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    publish.set_defaults(run=_publish)

    add_data(commands)
    return parser


def _fit(parsed: argparse.Namespace) -> int:
    from training.fit import Ending, fit  # noqa: PLC0415

    recipe = load_recipe(parsed.recipe, parsed.overrides)
    ending = fit(recipe, parsed.run_dir or Path("runs") / recipe.name, parsed.device)
    if os.environ.get("RANK", "0") == "0":
        print(f"hrm-train: {recipe.name}: {ending.value}", file=sys.stderr)  # noqa: T201
    return 130 if ending is Ending.STOPPED else 0


def _publish(parsed: argparse.Namespace) -> int:
    import tempfile  # noqa: PLC0415

    from model.registry import open_registry  # noqa: PLC0415
    from training.publish import publish  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as cache:
        registry = open_registry(parsed.registry, Path(cache))
        info = publish(
            parsed.run_dir, registry, parsed.task,
            use=not parsed.keep_current, device=parsed.device, precision=parsed.precision, halt_rule=parsed.halt_rule,
        )  # fmt: skip
    print(f"{info.name} is {'in' if parsed.keep_current else 'current in'} {parsed.registry}")  # noqa: T201
    return 0


def _recipes(parsed: argparse.Namespace) -> int:
    for name in recipe_names():
        recipe = load_recipe(name)
        print(f"{name}\n    {recipe.summary}")  # noqa: T201
        for label, text in (("cost", recipe.cost), ("accuracy", recipe.accuracy), ("data", recipe.prepare)):
            if text:
                print(f"    {label}: {text}")  # noqa: T201
    return 0
