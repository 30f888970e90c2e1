"""Flags made from the fields of a pydantic model, so that nothing is described twice."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import UnionType
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin

from pydantic import BaseModel

_EXTRAS = dict.fromkeys(("torch", "safetensors", "yaml"), "worker") | dict.fromkeys(("onnx", "onnxruntime"), "onnx")
"""Which extra brings a module."""


class CommandError(Exception):
    """A command cannot go on; the message is one line for the user."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        if not self.usage:
            self.usage = f"{self.prog} [flags]"

    def error(self, message: str) -> NoReturn:
        """Exit 2."""
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


@contextmanager
def worker_extra() -> Iterator[None]:
    """Imports in here need torch, or ONNX; raises CommandError where that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if extra is None:
            raise
        raise CommandError(f"{error.name} is not installed: pip install 'hrm-serve[{extra}]'") from None


def flag(name: str) -> str:
    """The flag of a field."""
    return "--" + name.replace("_", "-")


def add_fields(
    parser: argparse.ArgumentParser, model: type[BaseModel], title: str, names: Iterable[str] | None = None
) -> None:
    """One flag for each of the model's fields called `names` (None: for all).

    What was not given is left out of the namespace; what it means is for the model to read.
    """
    group = parser.add_argument_group(title)
    for name in model.model_fields if names is None else names:
        field = model.model_fields[name]
        default = "" if field.default in (None, ()) else f" [{field.default}]"
        text = f"{field.description or ''}{default}".replace("%", "%%")
        if field.annotation is bool:
            group.add_argument(flag(name), action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        else:
            kind = _kind(field.annotation)
            group.add_argument(flag(name), metavar=name.upper(), type=kind, default=argparse.SUPPRESS, help=text)


def _kind(annotation: Any) -> type:
    """What a field, or one alternative of it, holds where that is int or float, else str."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):  # the former where one alternative is Annotated
        return next((kind for kind in map(_kind, get_args(annotation)) if kind is not str), str)
    return annotation if annotation in (int, float) else str


def given(arguments: argparse.Namespace, model: type[BaseModel]) -> dict[str, Any]:
    """The fields of `model` that were given as flags."""
    return {name: value for name, value in vars(arguments).items() if name in model.model_fields}
