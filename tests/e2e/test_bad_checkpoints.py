"""Promise 5: a bad checkpoint never replaces a good one. Each is put under a service that goes on solving."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from served import Service

from benchmarks.cluster import until
from model.registry import Registry
from service.client import Client
from tests.conftest import PUZZLE, write_tiny


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    write_tiny(root, "good", seed=0)
    Registry([root]).use("sudoku", "good")
    return root


@pytest.fixture(scope="module")
def service(start: Callable[..., Service], root: Path) -> Service:
    service = start(registry=root)
    until(service.ready)
    return service


def change_config(path: Path, section: str, **changes: object) -> None:
    config = json.loads((path / "config.json").read_text())
    config[section] |= changes
    (path / "config.json").write_text(json.dumps(config))


def truncated(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def altered(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")


def wrong_sha256(path: Path) -> None:
    change_config(path, "weights", sha256="0" * 64)


def of_another_task(path: Path) -> None:
    change_config(path, "task", kind="maze")


def without_canaries(path: Path) -> None:
    (path / "canary.jsonl").unlink()


def failing_its_canaries(path: Path) -> None:
    change_config(path, "canary", accuracy=1.0)


def half_copied(path: Path) -> None:
    (path / "model.safetensors").unlink()


def without_config(path: Path) -> None:
    (path / "config.json").unlink()


def too_large_for_memory(path: Path) -> None:
    change_config(path, "architecture", hidden_size=8192, num_heads=64, H_layers=64, L_layers=64, inner_multiple=8192)


def absurd(path: Path) -> None:
    change_config(path, "architecture", hidden_size=1 << 40)


def a_pickle_with_code(path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return open, (str(path / "it-ran"), "w")

    weights = pickle.dumps(Bomb())
    (path / "model.safetensors").write_bytes(weights)
    import hashlib

    change_config(path, "weights", sha256=hashlib.sha256(weights).hexdigest(), bytes=len(weights))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (truncated, "truncated or altered"),
        (altered, "sha256"),
        (wrong_sha256, "sha256"),
        (of_another_task, "maze"),
        (without_canaries, "canary.jsonl is missing"),
        (failing_its_canaries, "0 of 1 canary puzzles"),
        (half_copied, "model.safetensors is missing"),
        (without_config, "config.json is missing"),
        (too_large_for_memory, "MB are free"),
        (absurd, "hidden_size"),
        (a_pickle_with_code, "model.safetensors"),
    ],
)
def test_it_is_refused_and_the_old_one_goes_on(service: Service, root: Path, spoil: Callable, reason: str) -> None:
    version = spoil.__name__.replace("_", "-")
    shutil.copytree(root / "sudoku" / "good", root / "sudoku" / version)
    spoil(root / "sudoku" / version)
    assert still_serves(service, root, version, reason) == "sudoku/good"
    assert not (root / "sudoku" / version / "it-ran").exists()


@pytest.mark.parametrize(("name", "reason"), [("nothing-here", "no version"), ("../../etc", "does not name a version")])
def test_a_current_that_names_nothing_is_refused(service: Service, root: Path, name: str, reason: str) -> None:
    assert still_serves(service, root, name, reason) == "sudoku/good"


def still_serves(service: Service, root: Path, version: str, reason: str) -> str | None:
    """Move CURRENT as `cp` and `echo` would, see the version refused, and say whose answer a puzzle then gets."""

    def load() -> dict:
        (worker,) = httpx.get(f"{service.url}/workers").json()
        return worker["loads"]["sudoku"]

    (root / "sudoku" / "CURRENT").write_text(f"{version}\n")
    until(lambda: load()["outcome"] == "refused" and reason in load()["reason"])
    assert 'hrm_checkpoint_loads_total{outcome="refused"' in httpx.get(f"{service.url}/metrics").text
    assert "Traceback" not in service.log
    with Client(service.url) as client:
        return client.solve(PUZZLE, task="sudoku").checkpoint
