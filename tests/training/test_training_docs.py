"""Every `hrm-train` command that the manual shows is one that there is."""

import re
import shlex
from pathlib import Path

import pytest

from training.cli import make_parser

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = [
    command.replace("\\\n", " ")
    for name in ("training.md", "evaluation.md", "diagnostics.md")
    for command in re.findall(r"^\$ hrm-train ((?:.*\\\n)*.*)$", (DOCS / name).read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_manual_is_understood(command):
    assert callable(make_parser().parse_args(shlex.split(command, comments=True)).run)


def test_the_manual_shows_commands():
    assert len(COMMANDS) > 10
