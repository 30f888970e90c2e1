import errno
import json
import os
import shutil
from datetime import date

import pytest

from model.checkpoint import CheckpointError
from model.registry import Registry, RegistryAwayError
from tests.model.test_checkpoint import write


@pytest.fixture
def roots(tmp_path, tiny):
    for root, version in (("shipped", "2026.01.02-9"), ("shipped", "2026.01.02-10"), ("mine", "2026.02.01-1")):
        write(tmp_path / root / "sudoku" / version, tiny)
    (tmp_path / "shipped" / "sudoku" / "CURRENT").write_text("2026.01.02-10\n")
    return [tmp_path / "mine", tmp_path / "shipped"]


def test_roots_lie_over_each_other(roots):
    registry = Registry(roots)
    assert registry.tasks() == ["sudoku"]
    assert registry.versions("sudoku") == ["2026.01.02-9", "2026.01.02-10", "2026.02.01-1"]
    assert registry.current("sudoku").version == "2026.01.02-10"


def test_a_registry_may_be_opened_for_some_tasks_only(roots, tiny):
    shutil.copytree(roots[1] / "sudoku", roots[1] / "other")
    assert Registry(roots).tasks() == ["other", "sudoku"]
    assert Registry(roots, ["sudoku", "maze"]).tasks() == ["sudoku"]


def test_use_moves_current_in_the_writable_root_alone(roots):
    registry = Registry(roots)
    registry.use("sudoku", "2026.02.01-1")
    assert registry.current("sudoku").version == "2026.02.01-1"
    registry.use("sudoku", "2026.01.02-9")  # a shipped version, named from the writable root
    assert registry.current("sudoku").version == "2026.01.02-9"
    assert (roots[1] / "sudoku" / "CURRENT").read_text() == "2026.01.02-10\n"


def test_an_unknown_version_is_not_used(roots):
    registry = Registry(roots)
    with pytest.raises(CheckpointError, match="no version 'x'"):
        registry.use("sudoku", "x")
    assert registry.current("sudoku").version == "2026.01.02-10"


@pytest.mark.parametrize("name", ["..", "../sudoku", "/etc", "", "a/b", ".hidden", "a\nb", "x" * 200])
def test_names_cannot_leave_the_registry(roots, name):
    registry = Registry(roots)
    for call in (registry.versions, registry.current, lambda n: registry.get("sudoku", n)):
        with pytest.raises(CheckpointError, match="not a possible name"):
            call(name)


def test_a_network_for_another_puzzle_is_not_used(roots):
    registry = Registry(roots)
    config = roots[0] / "sudoku" / "2026.02.01-1" / "config.json"
    binary = {"kind": "grid", "name": "binary", "shape": [9, 9], "alphabet": ".123456789", "blank": "."}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"task": binary}))
    with pytest.raises(CheckpointError, match=r"is for 'binary'; sudoku/.*, to be replaced, is for 'sudoku'"):
        registry.use("sudoku", "2026.02.01-1")
    assert registry.current("sudoku").version == "2026.01.02-10"


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOENT, "no version '2026.01.02-9'"), (errno.ESTALE, "cannot be read: Stale")]
)
def test_a_version_that_vanishes_while_it_is_read(roots, monkeypatch, number, says):
    def gone(path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pathlib.Path.iterdir", gone)
    with pytest.raises(CheckpointError, match=says):
        Registry(roots).get("sudoku", "2026.01.02-9")


def test_a_link_that_leads_out_is_not_followed(roots, tmp_path, tiny):
    write(tmp_path / "outside", tiny)
    (roots[0] / "sudoku" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(CheckpointError, match="leads out"):
        Registry(roots).get("sudoku", "link")


def test_current_that_names_nothing(roots):
    (roots[0] / "sudoku" / "CURRENT").write_text("../../etc\n")
    with pytest.raises(CheckpointError, match="does not name a version"):
        Registry(roots).current("sudoku")


def test_a_registry_that_cannot_be_written_is_named_and_nothing_half_written_stays(roots, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    registry = Registry(roots)
    for call in ("os.replace", "pathlib.Path.rename", "shutil.rmtree"):
        monkeypatch.setattr(call, refuse)
    with pytest.raises(RegistryAwayError, match="sudoku: cannot be written: No space left"):
        registry.use("sudoku", "2026.02.01-1")
    with pytest.raises(RegistryAwayError, match=r"2026\.02\.01-1: cannot be removed: No space left"):
        registry.prune("sudoku", keep=0)
    assert [path.name for path in (roots[0] / "sudoku").iterdir()] == ["2026.02.01-1"]


def test_next_version_counts_within_a_day(roots):
    registry = Registry(roots)
    assert registry.next_version("sudoku", date(2026, 2, 1)) == "2026.02.01-2"
    assert registry.next_version("sudoku", date(2026, 2, 2)) == "2026.02.02-1"
    assert registry.next_version("maze", date(2026, 2, 2)) == "2026.02.02-1"
