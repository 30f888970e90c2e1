"""`hrm checkpoint`: what it prints, what it changes, and its one line where something is wrong."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from model.registry import Registry
from model.tasks import get_task
from service.broker.config import BrokerConfig
from service.broker.worker import RedisWorkerBroker
from service.cli import main
from tests.conftest import PUZZLE, write_tiny
from tests.model.upstream_lab import random_network, write_run


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Three versions of sudoku, of which the last two were used in turn."""
    root = tmp_path / "checkpoints"
    monkeypatch.setenv("HRM_CHECKPOINTS", str(root))
    monkeypatch.setenv("HRM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("HRM_REDIS_URL", raising=False)
    for seed, version in enumerate(("one", "two", "three")):
        write_tiny(root, version, seed)
    registry = Registry([root])
    registry.use("sudoku", "two")
    registry.use("sudoku", "three")
    return registry


class Shell:
    """Runs `hrm checkpoint` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> str:
        """What it prints; it must succeed."""
        assert main(["checkpoint", *map(str, arguments)]) == 0
        return self._capsys.readouterr().out

    def refused(self, *arguments: object) -> str:
        """The one line of a command that fails."""
        try:
            code: object = main(["checkpoint", *map(str, arguments)])
        except SystemExit as refusal:  # argparse's way
            code = refusal.code
        assert code == 2
        written = self._capsys.readouterr()
        assert written.out == ""
        (line,) = written.err.splitlines()
        return line


@pytest.fixture
def hrm(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_list_shows_every_version_and_which_is_current(registry: Registry, hrm: Shell) -> None:
    lines = hrm("list").splitlines()
    assert lines[0].split() == ["task", "version", "current", "MB", "published", "problem"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["sudoku", "one", "0.0"],
        ["sudoku", "three", "yes"],
        ["sudoku", "two", "0.0"],
    ]
    (task,) = map(json.loads, hrm("list", "sudoku", "--json").splitlines())
    assert (task["current"], task["previous"]) == ("three", "two")
    assert [version["version"] for version in task["versions"] if version["current"]] == ["three"]


def test_list_names_what_is_damaged(registry: Registry, hrm: Shell) -> None:
    (registry.writable / "sudoku" / "one" / "config.json").unlink()
    (registry.writable / "sudoku" / "CURRENT").write_text("../x\n")
    shown = hrm("list")
    assert "does not name a version" in shown
    assert "config.json is missing" in shown


def test_an_empty_registry_is_said(tmp_path: Path, hrm: Shell) -> None:
    assert hrm("list", "--checkpoints", tmp_path / "empty") == f"no checkpoints in {tmp_path / 'empty'}\n"


def test_show_prints_the_config(registry: Registry, hrm: Shell) -> None:
    assert json.loads(hrm("show", "sudoku"))["name"] == "sudoku/three"
    shown = json.loads(hrm("show", "sudoku/one"))
    assert shown["task"] == {"kind": "sudoku", "shape": [9, 9]}
    assert shown["architecture"]["seq_len"] == 81


def test_verify_reads_to_the_last_byte(registry: Registry, hrm: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert hrm("verify").splitlines() == [
        f"sudoku/{name}: whole; canaries: 1; identifiers: 0" for name in ("one", "three", "two")
    ]
    weights = registry.writable / "sudoku" / "one" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert "sha256" in hrm.refused("verify", "sudoku/one")
    assert hrm("verify", "sudoku") == "sudoku/three: whole; canaries: 1; identifiers: 0\n"
    assert main(["checkpoint", "verify"]) == 1
    assert "sudoku/one: " in capsys.readouterr().out


def test_use_and_rollback_move_current(registry: Registry, hrm: Shell) -> None:
    assert hrm("use", "sudoku/one") == "sudoku/one is current\n"
    assert hrm("rollback", "sudoku") == "sudoku/three is current\n"
    assert hrm("rollback", "sudoku") == "sudoku/two is current\n"
    assert "no earlier version" in hrm.refused("rollback", "sudoku")
    assert registry.current_version("sudoku") == "two"


def test_a_damaged_version_is_not_used(registry: Registry, hrm: Shell) -> None:
    (registry.writable / "sudoku" / "two" / "model.safetensors").write_bytes(b"short")
    assert "truncated or altered" in hrm.refused("use", "sudoku/two")
    assert "truncated or altered" in hrm.refused("rollback", "sudoku")
    assert registry.current_version("sudoku") == "three"


def test_prune_keeps_what_a_worker_serves(
    registry: Registry, hrm: Shell, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = RedisWorkerBroker(BrokerConfig(redis_url), "worker-1")
    worker.announce({"tasks": {"sudoku": {"checkpoint": "sudoku/one", "warm": True, "slots": 4}}})
    monkeypatch.setenv("HRM_REDIS_URL", redis_url)
    registry.use("sudoku", "two")
    write_tiny(registry.writable, "four", seed=4)
    write_tiny(registry.writable, "a", seed=5)
    assert hrm("prune", "sudoku", "--keep", 1) == "sudoku/a removed\nsudoku/four removed\n"
    worker.retire()
    worker.close()
    assert hrm("prune", "sudoku", "--keep", 1) == "sudoku/one removed\n"
    assert registry.versions("sudoku") == ["three", "two"]


def test_prune_asks_nobody_where_no_service_runs(registry: Registry, hrm: Shell) -> None:
    assert hrm("prune", "sudoku", "--keep", 1) == "sudoku/one removed\n"


def test_prune_does_not_guess_what_workers_serve(
    registry: Registry, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    nobody = f"unix://{tmp_path}/nobody.sock"
    assert main(["checkpoint", "prune", "sudoku", "--keep", "1", "--redis-url", nobody]) == 1
    assert "what the workers serve must be known" in capsys.readouterr().err
    assert len(registry.versions("sudoku")) == 3


def test_a_url_is_as_good_as_a_directory(
    registry: Registry, hrm: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HRM_CHECKPOINTS", f"file://{registry.writable}")
    assert hrm("use", "sudoku/one") == "sudoku/one is current\n"
    assert registry.current_version("sudoku") == "one"
    assert main(["solve", PUZZLE, "--task", "sudoku", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoint"] == "sudoku/one"
    assert hrm("rollback", "sudoku") == "sudoku/three is current\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of upstream's."""
    return write_run(tmp_path / "run", random_network(puzzle_emb_ndim=32))


def test_import_makes_a_version_and_uses_it(registry: Registry, hrm: Shell, run: Path, tmp_path: Path) -> None:
    assert hrm("import", run, "--task", "sudoku", "--version", "theirs") == "sudoku/theirs is current\n"
    info = registry.current("sudoku")
    info.verify()
    assert info.version == "theirs"
    assert "sudoku/theirs: whole" in hrm("verify", "sudoku")
    file = Path(hrm("export", "sudoku", tmp_path / "exported").strip())
    mine, theirs = (torch.load(path, weights_only=True) for path in (file, run / "step_7"))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert hrm("rollback", "sudoku") == "sudoku/three is current\n"


def test_import_can_leave_current_alone(registry: Registry, hrm: Shell, run: Path) -> None:
    said = hrm("import", run / "step_7", "--task", "grid", "--seq-len", 81, "--name", "mine", "--no-use")
    assert "hrm checkpoint use mine/" in said
    assert registry.tasks() == ["sudoku"]
    assert registry.all_tasks() == ["mine", "sudoku"]


def test_an_import_without_identifiers_says_what_that_means(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "arc", random_network(puzzle_emb_ndim=32, num_puzzles=3))
    assert main(["checkpoint", "import", str(run), "--task", "sudoku"]) == 0
    assert "all get row 0" in capsys.readouterr().err
    (run / "identifiers.json").write_text('["<blank>", "one", "two"]')
    assert main(["checkpoint", "import", str(run), "--task", "sudoku"]) == 0
    assert capsys.readouterr().err == ""
    assert registry.current("sudoku").identifiers == {"one": 1, "two": 2}


def test_an_imported_checkpoint_solves(registry: Registry, hrm: Shell, run: Path, capsys) -> None:
    hrm("import", run, "--task", "sudoku")
    assert main(["solve", PUZZLE, "--task", "sudoku", "--max-segments", "1", "--json", "--precision", "fp32"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["segments"], answer["checkpoint"]) == (1, registry.current("sudoku").name)


@pytest.mark.parametrize("named", ["sudoku/two", "{root}/sudoku/two"])
def test_export_onnx_writes_a_segment_that_runs_by_itself(
    registry: Registry, hrm: Shell, tmp_path: Path, named: str
) -> None:
    file = tmp_path / "segment.onnx"
    said = hrm("export-onnx", named.format(root=registry.writable), file)
    assert said.startswith(f"{file}: opset 20; at most ")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    known = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    assert (known["checkpoint"], known["opset"], known["max_segments"]) == ("sudoku/two", 20, 4)
    for rows in (1, 5):
        state = {z: np.tile(np.float32(known[f"{z[-1]}_init"]), (rows, 81, 1)) for z in ("z_H", "z_L")}
        tokens = np.tile(get_task("sudoku").parse(PUZZLE), (rows, 1)).astype(np.int64)
        answer, q_halt = session.run(["answer", "q_halt"], {"tokens": tokens, **state})
        assert (answer.shape, q_halt.shape) == ((rows, 81), (rows,))
    assert "exists already" in hrm.refused("export-onnx", "sudoku", file)


def test_an_export_that_says_something_else_is_not_written(
    registry: Registry, hrm: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.onnx_graph.embedding_scale", lambda hidden: 3.0)
    assert "z_H differs by" in hrm.refused("export-onnx", "sudoku", tmp_path / "wrong.onnx")
    assert not (tmp_path / "wrong.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["use", "sudoku"], "'sudoku' names no version; there are: one, three, two"),
        (["use", "sudoku/nine"], "no version 'nine'"),
        (["use", "../../etc/passwd"], "not a possible name"),
        (["show", "chess"], "no current version"),
        (["rollback", "chess"], "no earlier version"),
        (["prune", "sudoku", "--keep", "0"], "must be at least 1"),
        (["prune", "sudoku"], "--keep"),
        (["import", "/nowhere", "--task", "sudoku"], "no such file or directory"),
        (["import", "/nowhere", "--task", "chess"], "invalid choice: 'chess'"),
        (["import", ".", "--task", "sudoku", "--version", "../x"], "not a possible name"),
        (["import", ".", "--task", "maze", "--shape", "3by3"], "--shape"),
        (["export", "sudoku", "{tmp}"], "upstream's code cannot run this network"),
        (["export-onnx", "sudoku", "{tmp}/no/such/place.onnx"], "place.onnx: cannot be written: No such file"),
        (["export-onnx", "sudoku/nine", "{tmp}"], "no version 'nine'"),
        (["list", "--checkpoints", "nonsense://x"], "HRM_CHECKPOINTS: nonsense://x"),
        (["frobnicate"], "invalid choice"),
    ],
)
def test_what_is_wrong_is_one_line(
    registry: Registry, hrm: Shell, tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert message in hrm.refused(*(argument.replace("{tmp}", str(tmp_path / "new")) for argument in arguments))
