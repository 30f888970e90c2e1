"""How `hrm-train` ends where nobody reads on, nothing can be written, or Ctrl-C comes: without a traceback."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.training.tiny_run import HRM_TRAIN, write_tiny_recipe
from training.cli import main
from training.data import generators, sources


def ending(*arguments, stdout):
    """What it says on stderr, and its exit code."""
    ended = subprocess.run(
        [*HRM_TRAIN, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    return ended.stderr, ended.returncode


def test_a_reader_who_has_seen_enough_ends_it_quietly():
    reader, stdout = os.pipe()
    os.close(reader)
    assert ending("recipes", stdout=stdout) == ("", 141)
    os.close(stdout)


def test_a_full_disk_behind_stdout_is_one_line():
    with Path("/dev/full").open("w") as full:
        assert ending("recipes", stdout=full) == ("hrm-train: [Errno 28] No space left on device\n", 1)


@pytest.mark.parametrize("command", ["fit", "data build"])
def test_ctrl_c_while_puzzles_are_generated_is_quiet_and_leaves_nothing(tmp_path, monkeypatch, capsys, command):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sources, "generate", interrupted)
    monkeypatch.setattr(generators, "generate", interrupted)
    out = tmp_path / "out"
    arguments = {
        "fit": ["fit", write_tiny_recipe(tmp_path), "--run", str(out)],
        "data build": ["data", "build", "sudoku", str(out), "--generate", "100"],
    }[command]
    assert main(arguments) == 130
    assert not capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".npz", ".npy", ".partial"}]
