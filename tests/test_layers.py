"""The rooms of the house: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def imports(package: str) -> dict[Path, set[str]]:
    """Every module that a package's files import, wherever in the file."""
    found: dict[Path, set[str]] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.setdefault(path, set()).update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.setdefault(path, set()).add(node.module)
    assert found
    return found


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("model", ("service", "training")),
        ("training", ("service",)),
        ("service", ("training",)),
        ("service/broker", ("service.api", "service.engine", "service.worker", "torch")),
        ("service/api", ("service.engine", "service.worker", "torch")),
        ("model/tasks", ("torch",)),
    ],
)
def test_a_room_leaves_the_others_alone(package, forbidden):
    broken = {
        str(path.relative_to(ROOT)): name
        for path, names in imports(package).items()
        for name in names
        if name.startswith(forbidden)
    }
    assert not broken


@pytest.mark.parametrize("file", ["work", "runner", "slots", "table", "loop", "schedule", "codec"])
def test_the_scheduling_core_is_free_of_torch_clock_and_redis(file):
    names = imports("service/engine")[ROOT / "service" / "engine" / f"{file}.py"]
    assert not [name for name in names if name.startswith(("torch", "redis", "time", "service.broker"))]


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("model.tasks", ["torch", "pydantic", "redis"]),
        ("model.registry", ["torch"]),
        ("service.api", ["torch", "numba"]),
        ("service.cli", ["torch", "fastapi", "redis"]),
        ("service.client", ["torch", "fastapi", "redis"]),
        ("service.engine.loop", ["torch", "redis"]),
    ],
)
def test_importing_brings_no_more_than_it_must(module, forbidden):
    code = f"import sys, {module}; print([m for m in {forbidden} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
