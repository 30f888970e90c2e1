"""`hrm doctor` finds what would stand in the way of a start, one line each."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from service import packages
from service.broker.embedded import EmbeddedServer
from service.cli import main

Findings = dict[str, tuple[str, str]]


@pytest.fixture
def examine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_registry: Path, tmp_path: Path
) -> Callable[..., tuple[int, Findings]]:
    """Runs `hrm doctor` with variables; its exit code, and verdict and finding by check."""
    for name in [name for name in os.environ if name.startswith("HRM_")]:
        monkeypatch.delenv(name)

    def run(role: str = "serve", **variables: str) -> tuple[int, Findings]:
        defaults = {"CHECKPOINTS": str(tiny_registry), "STATE_DIR": str(tmp_path), "DEVICE": "cpu", "PORT": "0"}
        for name, value in {**defaults, **variables}.items():
            monkeypatch.setenv(f"HRM_{name}", value)
        code = main(["doctor", role])
        lines = capsys.readouterr().out.splitlines()
        return code, {line[7:20].strip(): (line[:6].strip(), line[21:]) for line in lines}

    return run


def test_a_sound_machine_passes(examine: Callable[..., tuple[int, Findings]], redis_url: str) -> None:
    code, findings = examine(REDIS_URL=redis_url)
    assert code == 0
    assert {verdict for check, (verdict, _) in findings.items() if check != "variables"} == {"ok"}
    assert findings["registry"][1] == "sudoku: as published"
    assert findings["queue"][1].startswith("Valkey 9")
    assert findings["queue"][1].endswith("append-only, noeviction")


def test_without_a_redis_it_is_the_embedded_one(examine: Callable[..., tuple[int, Findings]], tmp_path: Path) -> None:
    _, findings = examine()
    assert findings["queue"] == ("ok", f"`hrm serve` starts valkey-server at {EmbeddedServer(tmp_path).url}")
    assert examine("worker")[1]["queue"][1].startswith("HRM_REDIS_URL is not set")


@pytest.fixture
def locked(redis_url: str) -> Iterator[str]:
    """The URL of the Valkey, which asks for a password meanwhile."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("requirepass", "right")
        yield redis_url
        client.execute_command("AUTH", "right")
        client.config_set("requirepass", "")


def test_a_wrong_password_is_said_and_not_shown(examine: Callable[..., tuple[int, Findings]], locked: str) -> None:
    code, findings = examine("api", REDIS_URL=locked.replace("unix://", "unix://:hunter2@"))
    assert code == 1
    assert findings["queue"][0] == "WRONG"
    assert "invalid username-password" in findings["queue"][1]
    assert "hunter2" not in str(findings)


@pytest.mark.parametrize(
    ("role", "variables", "check", "verdict", "finding"),
    [
        (
            "api",
            {"REDIS_URL": "redis://127.0.0.1:1"},
            "queue",
            "WRONG",
            "HRM_REDIS_URL: Redis at redis://127.0.0.1:1: ",
        ),
        (
            "api",
            {"REDIS_URL": "redis://:secret@host?foo=1"},
            "queue",
            "WRONG",
            "HRM_REDIS_URL: not the URL of a Redis: 'redis://host' with these options",
        ),
        ("serve", {"QEUE_LIMIT": "7"}, "variables", "doubt", "HRM_QEUE_LIMIT: no such setting"),
        (
            "api",
            {"API_KEY": "s"},
            "variables",
            "ok",
            "every HRM_* variable is a setting, but HRM_API_KEY, which is for",
        ),
        ("api", {"CHECKPOINTS": "/none"}, "registry", "WRONG", "no checkpoint in /none, and none ships with the code"),
        ("api", {"CHECKPOINTS": __file__}, "registry", "WRONG", f"HRM_CHECKPOINTS: {__file__} is no directory"),
        ("serve", {"DEFAULT_TASK": "maze"}, "registry", "WRONG", "HRM_DEFAULT_TASK: no checkpoint of 'maze'"),
        ("worker", {"TASKS": "sudoku,sudko"}, "registry", "doubt", "HRM_TASKS: no checkpoint of sudko yet"),
        ("serve", {"STATE_DIR": "/proc/none"}, "state", "WRONG", "HRM_STATE_DIR: /proc/none cannot be written to"),
        ("worker", {"DEVICE": "cuda:99"}, "device", "WRONG", "HRM_DEVICE: device 'cuda:99' is not there"),
        ("serve", {"TRACE_SAMPLE": "0.1"}, "traces", "doubt", "HRM_TRACE_SAMPLE: OTEL_EXPORTER_OTLP_ENDPOINT is not"),
    ],
)
def test_what_is_found_is_named(
    examine: Callable[..., tuple[int, Findings]],
    role: str,
    variables: dict[str, str],
    check: str,
    verdict: str,
    finding: str,
) -> None:
    code, findings = examine(role, **variables)
    assert findings[check][0] == verdict
    assert findings[check][1].startswith(finding)
    assert code == 1 or verdict != "WRONG"


def test_a_registry_that_is_not_there_is_doubtful_even_where_something_ships(
    examine: Callable[..., tuple[int, Findings]], tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.registry.SHIPPED", tiny_registry)
    _, findings = examine("api", CHECKPOINTS="/none")
    assert findings["registry"] == (
        "doubt",
        "HRM_CHECKPOINTS: nothing is in /none yet; what ships: sudoku: as published",
    )


def test_a_state_directory_that_another_server_has_is_found(
    examine: Callable[..., tuple[int, Findings]], tmp_path: Path
) -> None:
    with EmbeddedServer(tmp_path):
        verdict, finding = examine()[1]["queue"]
    assert (verdict, finding) == ("WRONG", f"the state directory {tmp_path} is in use by another server")


def test_a_damaged_checkpoint_is_found(examine: Callable[..., tuple[int, Findings]], tmp_path: Path) -> None:
    from model.registry import Registry
    from tests.conftest import write_tiny

    write_tiny(tmp_path / "registry", "one", seed=0)
    Registry([tmp_path / "registry"]).use("sudoku", "one")
    weights = tmp_path / "registry/sudoku/one/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    code, findings = examine(CHECKPOINTS=str(tmp_path / "registry"))
    assert code == 1
    assert findings["registry"][1].endswith("altered")


def test_a_taken_port_is_found(examine: Callable[..., tuple[int, Findings]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        verdict, finding = examine("api", PORT=str(port))[1]["API ports"]
    assert verdict == "WRONG"
    assert finding.startswith(f"HRM_PORT: cannot listen on port {port} of 127.0.0.1: Address already in use")


def test_two_builds_of_onnxruntime_are_one_too_many(
    examine: Callable[..., tuple[int, Findings]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "installed", lambda package: True)
    assert "both installed" in examine("worker")[1]["device"][1]
    assert main(["worker", "--redis-url", "unix:///nowhere"]) == 2
    assert capsys.readouterr().err.startswith("hrm worker: onnxruntime and onnxruntime-gpu are both installed")


def test_a_machine_without_a_compiler_is_told(
    examine: Callable[..., tuple[int, Findings]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.engine import graph

    monkeypatch.setattr(graph, "can_compile", lambda device: False)
    assert examine("worker")[1]["device"] == ("ok", "cpu is there; no compiler for cpu, but ONNX Runtime")
    assert examine("worker", BACKEND="torch")[1]["device"][0] == "doubt"
    assert examine("worker", COMPILE="on")[1]["device"][0] == "WRONG"
    assert examine("worker", COMPILE="off")[1]["device"][0] == "ok"
