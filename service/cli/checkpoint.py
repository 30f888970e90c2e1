"""See and change what a registry of checkpoints holds, and which version of a task is served.

Running workers follow within seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pydantic import SecretStr
from rich.table import Table

from model.checkpoint import CheckpointError, CheckpointInfo, read_checkpoint
from model.registry import Registry
from model.tasks import task_names
from service.broker.admin import QueueAdmin
from service.broker.config import broker_config
from service.broker.embedded import EmbeddedServer
from service.broker.records import BrokerError
from service.checkpoints import TaskVersions, load, roll_back, survey
from service.cli.console import console
from service.cli.flags import CommandError, add_fields, worker_extra
from service.cli.settings import settings_from
from service.registry import registry_of
from service.schemas import WorkerDescription
from service.settings import Settings, SettingsError

_ONE = "TASK or TASK/VERSION; without a version: the current one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand an action."""
    parser.usage = "%(prog)s ACTION [flags]"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True, prog=parser.prog)

    def action(name: str, usage: str, summary: str, *more: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = actions.add_parser(
            name, usage=f"%(prog)s {usage}", help=summary, description=summary
        )
        add_fields(added, Settings, "settings", ("checkpoints", "state_dir", *more))
        return added

    listing = action("list", "[TASK] [flags]", "every version, and which one is current")
    listing.add_argument("task", nargs="?", metavar="TASK", help="only this task's")
    listing.add_argument("--json", action="store_true", help="one JSON object a task and line, for machines")
    show = action("show", "TASK[/VERSION] [flags]", "what a checkpoint says of itself, as JSON")
    show.add_argument("name", metavar="TASK[/VERSION]", help=_ONE)
    verify = action("verify", "[TASK[/VERSION]] [flags]", "read a checkpoint to the last byte, or all of them")
    verify.add_argument("name", nargs="?", metavar="TASK[/VERSION]", help="left out: all versions of all tasks")
    use = action("use", "TASK/VERSION [flags]", "make a version the current one, after verifying it")
    use.add_argument("name", metavar="TASK/VERSION")
    rollback = action("rollback", "TASK [flags]", "go back to the version before; again: further back")
    rollback.add_argument("task", metavar="TASK")
    export = action("export", "TASK[/VERSION] DIR [flags]", "write a checkpoint in upstream's format")
    export.add_argument("name", metavar="TASK[/VERSION]", help=_ONE)
    export.add_argument("directory", type=Path, metavar="DIR", help="a new or empty directory")
    onnx = action("export-onnx", "TASK[/VERSION]|DIR OUT [flags]", "write one segment of a checkpoint as an ONNX file")
    onnx.add_argument("name", metavar="TASK[/VERSION]|DIR", help=f"{_ONE}; or a checkpoint's directory")
    onnx.add_argument("out", type=Path, metavar="OUT", help="a new file")
    prune = action("prune", "TASK --keep N [flags]", "remove old versions", "redis_url", "namespace")
    prune.add_argument("task", metavar="TASK")
    prune.add_argument(
        "--keep", type=_count, required=True, metavar="N", help="how many of the newest versions stay; so do the "
        "current one, the one before it, and those that a worker serves"
    )  # fmt: skip
    _add_import(action("import", "DIR --task TASK [flags]", "make a version out of an upstream checkpoint"))


def run(arguments: argparse.Namespace) -> int:
    """0 when all went well; 1 when `verify` found something."""
    try:
        registry = registry_of(settings_from(arguments))
        return int(_ACTIONS[arguments.action](registry, arguments))
    except (CheckpointError, SettingsError) as error:
        raise CommandError(str(error)) from None


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="DIR", help="holds step_N or checkpoint, beside all_config.yaml")
    parser.add_argument("--task", required=True, choices=(*task_names(), "grid"), help="how its puzzles are to be read")
    parser.add_argument(
        "--seq-len", type=_count, metavar="N", help="cells of a puzzle, where neither dataset.json nor the task tells"
    )
    parser.add_argument(
        "--shape", type=_shape, metavar="RxC", help="rows and columns of a maze or grid; left out: a square"
    )
    parser.add_argument("--alphabet", help="characters of a grid, token 1 first; left out: digits, then letters")
    parser.add_argument("--name", help="the task's name in the registry; left out: the task")
    parser.add_argument("--version", help="left out: the date and a running number")
    parser.add_argument(
        "--identifiers", type=Path, metavar="FILE", help="names of the puzzle embedding's rows; left out: "
        "identifiers.json beside the checkpoint, if there is one"
    )  # fmt: skip
    parser.add_argument(
        "--precision",
        dest="served_in",
        choices=("fp32", "bf16"),
        help="to be served in; left out: what a worker's machine is fast in",
    )
    parser.add_argument(
        "--use", action=argparse.BooleanOptionalAction, default=True, help="make it the current version [yes]"
    )


def _list(registry: Registry, arguments: argparse.Namespace) -> int:
    tasks = [arguments.task] if arguments.task else registry.all_tasks()
    surveys = [survey(registry, task) for task in tasks]
    if arguments.json:
        for found in surveys:
            print(found.model_dump_json(exclude_none=True))
        return 0
    table = Table("task", "version", "current", "MB", "published", "problem", box=None, pad_edge=False)
    for row in _rows(surveys):
        table.add_row(*row)
    console().print(table if table.row_count else f"no checkpoints in {registry.writable}")
    return 0


def _rows(surveys: list[TaskVersions]) -> Iterator[tuple[str, ...]]:
    for found in surveys:
        if found.problem:
            yield found.task, "", "?", "", "", found.problem
        for version in found.versions:
            megabytes = "" if version.bytes is None else f"{version.bytes / 1e6:.1f}"
            current = "yes" if version.current else ""
            yield (
                found.task, version.version, current, megabytes, version.published or "", version.problem or ""
            )  # fmt: skip


def _show(registry: Registry, arguments: argparse.Namespace) -> int:
    info = _find(registry, arguments.name)
    print(json.dumps({"name": info.name, "path": str(info.path), **info.config}, indent=2))
    return 0


def _verify(registry: Registry, arguments: argparse.Namespace) -> int:
    if arguments.name:
        _verify_one(_find(registry, arguments.name))
        return 0
    failed = False
    for task in registry.all_tasks():
        for version in registry.versions(task):
            try:
                _verify_one(registry.get(task, version))
            except CheckpointError as error:
                failed = True
                print(f"{task}/{version}: {error}")
    return int(failed)


def _verify_one(info: CheckpointInfo) -> None:
    info.verify()
    canaries, identifiers = len(info.canaries()), len(info.identifiers or ())
    print(f"{info.name}: whole; canaries: {canaries}; identifiers: {identifiers}")


def _use(registry: Registry, arguments: argparse.Namespace) -> int:
    task, _, version = arguments.name.partition("/")
    if not version:
        raise CommandError(f"{arguments.name!r} names no version; there are: {_versions(registry, task)}")
    _say_current(load(registry, task, version))
    return 0


def _rollback(registry: Registry, arguments: argparse.Namespace) -> int:
    _say_current(roll_back(registry, arguments.task))
    return 0


def _import(registry: Registry, arguments: argparse.Namespace) -> int:
    with worker_extra():
        from model.exchange import Reading, import_upstream  # noqa: PLC0415 (torch, not before it is needed)

    info = import_upstream(
        registry,
        arguments.source,
        Reading(arguments.task, arguments.seq_len, arguments.shape, arguments.alphabet),
        name=arguments.name,
        version=arguments.version,
        identifiers=arguments.identifiers,
        precision=arguments.served_in,
    )
    if info.identifiers is None and info.architecture.num_puzzles > 1:
        print("no identifiers.json: requests cannot name a puzzle, and all get row 0 of the embedding", file=sys.stderr)
    if arguments.use:
        _say_current(registry.use(info.task, info.version))
    else:
        print(f"{info.name} is in the registry; `hrm checkpoint use {info.name}` has it served")
    return 0


def _export(registry: Registry, arguments: argparse.Namespace) -> int:
    with worker_extra():
        from model.exchange import export_upstream  # noqa: PLC0415 (torch, not before it is needed)

    print(export_upstream(_find(registry, arguments.name), arguments.directory))
    return 0


def _export_onnx(registry: Registry, arguments: argparse.Namespace) -> int:
    with worker_extra():
        from model.onnx_export import export_onnx  # noqa: PLC0415 (onnx, not before it is needed)

    directory = Path(arguments.name)
    info = read_checkpoint(directory) if directory.is_dir() else _find(registry, arguments.name)
    done = export_onnx(info, arguments.out)
    print(f"{done.path}: opset {done.opset}; at most {done.largest_difference:.1e} from torch")
    return 0


def _prune(registry: Registry, arguments: argparse.Namespace) -> int:
    for version in registry.prune(arguments.task, arguments.keep, _in_use(arguments)):
        print(f"{arguments.task}/{version} removed")
    return 0


def _in_use(arguments: argparse.Namespace) -> set[str]:
    """The versions that living workers serve; without HRM_REDIS_URL, those of the `hrm serve` of this state directory.

    Where no such `hrm serve` runs, nobody is asked.
    """
    settings = settings_from(arguments)
    own = settings.redis_url is None
    if own:
        settings = settings.model_copy(update={"redis_url": SecretStr(EmbeddedServer(settings.state_dir).url)})
    try:
        with closing(QueueAdmin(broker_config(settings))) as admin:
            workers = admin.workers()
    except BrokerError as error:
        if own:
            return set()
        raise CommandError(f"{error}: what the workers serve must be known", exit_code=1) from None
    served = (WorkerDescription.model_validate(worker.description).tasks.get(arguments.task) for worker in workers)
    return {loaded.checkpoint.partition("/")[2] for loaded in served if loaded}


def _find(registry: Registry, name: str) -> CheckpointInfo:
    task, _, version = name.partition("/")
    info = registry.get(task, version) if version else registry.current(task)
    if info is None:
        raise CommandError(f"task {task!r} has no current version; there are: {_versions(registry, task)}")
    return info


def _versions(registry: Registry, task: str) -> str:
    return ", ".join(registry.versions(task)) or "none"


def _say_current(info: CheckpointInfo) -> None:
    print(f"{info.name} is current")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _shape(text: str) -> tuple[int, int]:
    rows, _, columns = text.lower().partition("x")
    return _count(rows), _count(columns)


_ACTIONS = {
    "list": _list,
    "show": _show,
    "verify": _verify,
    "use": _use,
    "rollback": _rollback,
    "import": _import,
    "export": _export,
    "export-onnx": _export_onnx,
    "prune": _prune,
}
