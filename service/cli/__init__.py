"""The `hrm` command: one module a subcommand, imported only when it is asked for."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from importlib.metadata import version

from service.cli.flags import CommandError, Parser

_COMMANDS = {
    "serve": "run the whole service on this machine: API, worker and queue",
    "api": "run one API process (needs HRM_REDIS_URL)",
    "worker": "run one worker (needs HRM_REDIS_URL)",
    "solve": "solve puzzles, here or on a server",
    "checkpoint": "list, verify, choose, import, export and prune checkpoints",
    "config": "show every setting, its value and where that comes from",
    "doctor": "check that it will work here, before a start",
    "dead": "list or requeue the puzzles that crashed their workers",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code: 2 for what the user can mend, said in one line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    name = arguments[0] if arguments else ""
    if name not in _COMMANDS:
        _overview().parse_args(arguments or ["--help"])
        return 0
    command = import_module(f"service.cli.{name}")
    parser = Parser(prog=f"hrm {name}", description=command.__doc__)
    command.add_arguments(parser)
    try:
        code: int = command.run(parser.parse_args(arguments[1:]))
        sys.stdout.flush()
    except CommandError as error:
        print(f"hrm {name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        _drop_output()
        return 141
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        print(f"hrm {name}: {error.strerror}", file=sys.stderr)
        return 1
    return code


def _drop_output() -> None:
    """What is still in the buffer of standard output goes nowhere, and is no error at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _overview() -> Parser:
    parser = Parser(prog="hrm", description="Serve Hierarchical Reasoning Models: POST a puzzle, get a checked answer.")
    parser.add_argument("--version", action="version", version=f"hrm-serve {version('hrm-serve')}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    for name, summary in _COMMANDS.items():
        commands.add_parser(name, help=summary)
    parser.epilog = "`hrm COMMAND --help` shows the flags of a command."
    return parser
