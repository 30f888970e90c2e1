"""Which versions were in use, how to go back, and what may be removed."""

import os
from pathlib import Path

import pytest

from model.checkpoint import CheckpointError
from model.registry import NoEarlierVersionError, Registry, RegistryAwayError, UnknownVersionError
from tests.model.test_checkpoint import write


@pytest.fixture
def registry(tmp_path: Path, tiny) -> Registry:
    """Versions 1 to 5, and a shipped one that is current until another is used."""
    for version in "12345":
        write(tmp_path / "mine" / "sudoku" / version, tiny)
    write(tmp_path / "shipped" / "sudoku" / "0", tiny)
    (tmp_path / "shipped" / "sudoku" / "CURRENT").write_text("0\n")
    return Registry([tmp_path / "mine", tmp_path / "shipped"])


def use(registry: Registry, *versions: str) -> None:
    for version in versions:
        registry.use("sudoku", version)


def test_rollback_walks_back_along_what_was_in_use(registry: Registry) -> None:
    use(registry, "3", "1", "4")
    assert registry.previous_version("sudoku") == "1"
    assert [registry.rollback("sudoku").version for _ in range(3)] == ["1", "3", "0"]
    assert registry.current_version("sudoku") == "0"
    with pytest.raises(NoEarlierVersionError, match="no earlier version"):
        registry.rollback("sudoku")
    assert registry.current_version("sudoku") == "0"


def test_after_a_rollback_history_goes_on_from_there(registry: Registry) -> None:
    use(registry, "1", "2")
    registry.rollback("sudoku")
    use(registry, "3", "3")
    assert registry.previous_version("sudoku") == "1"
    use(registry, "1")
    assert registry.rollback("sudoku").version == "3"


def test_rollback_passes_over_versions_that_are_gone(registry: Registry, tmp_path: Path) -> None:
    use(registry, "1", "2", "3")
    registry.prune("sudoku", keep=0, in_use=["1"])
    (tmp_path / "mine" / "sudoku" / "2").rename(tmp_path / "elsewhere")
    assert registry.rollback("sudoku").version == "1"


def test_a_current_that_was_moved_by_hand_does_not_confuse_history(registry: Registry, tmp_path: Path) -> None:
    use(registry, "1", "2")
    (tmp_path / "mine" / "sudoku" / "CURRENT").write_text("4\n")
    assert registry.previous_version("sudoku") == "2"
    (tmp_path / "mine" / "sudoku" / "CURRENT").write_text("../x\n")
    use(registry, "5")  # mends it
    assert registry.rollback("sudoku").version == "2"


def test_a_damaged_version_is_not_gone_back_to(registry: Registry, tmp_path: Path) -> None:
    use(registry, "1", "2")
    (tmp_path / "mine" / "sudoku" / "1" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        registry.rollback("sudoku")
    assert registry.current_version("sudoku") == "2"


def test_prune_keeps_the_newest_and_what_is_needed(registry: Registry, tmp_path: Path) -> None:
    use(registry, "1", "2")
    assert registry.prune("sudoku", keep=1, in_use=["3"]) == ["4"]
    assert registry.versions("sudoku") == ["0", "1", "2", "3", "5"]
    assert registry.prune("sudoku", keep=1) == ["3"]
    assert registry.prune("sudoku", keep=1) == []
    left = {path.name for path in (tmp_path / "mine" / "sudoku").iterdir()}
    assert left == {"1", "2", "5", "CURRENT", "HISTORY"}


def test_prune_touches_neither_shipped_versions_nor_what_a_link_leads_to(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sudoku" / "5").rename(tmp_path / "outside")
    (tmp_path / "mine" / "sudoku" / "5").symlink_to(tmp_path / "outside")
    use(registry, "4")
    assert registry.prune("sudoku", keep=0) == ["1", "2", "3"]
    assert (tmp_path / "outside" / "config.json").is_file()
    assert registry.versions("sudoku") == ["0", "4", "5"]


def test_prune_refuses_where_it_cannot_know_what_is_current(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sudoku" / "CURRENT").write_text("?\n")
    with pytest.raises(CheckpointError, match="does not name a version"):
        registry.prune("sudoku", keep=1)
    assert len(registry.versions("sudoku")) == 6


def test_tasks_are_known_before_a_version_is_current(registry: Registry, tmp_path: Path, tiny) -> None:
    write(tmp_path / "mine" / "new" / "1", tiny)
    (tmp_path / "mine" / "empty").mkdir()
    assert registry.tasks() == ["sudoku"]
    assert registry.all_tasks() == ["new", "sudoku"]
    with pytest.raises(NoEarlierVersionError):
        registry.rollback("new")


@pytest.mark.parametrize("file", ["CURRENT", "1/config.json", "1/model.safetensors", "1"])
def test_no_link_out_of_the_registry_is_followed(registry: Registry, tmp_path: Path, file: str) -> None:
    use(registry, "1")
    inside = tmp_path / "mine" / "sudoku" / file
    inside.rename(tmp_path / "outside")
    inside.symlink_to(tmp_path / "outside")
    with pytest.raises(CheckpointError, match="leads out of the registry"):
        registry.current("sudoku")


def test_a_link_within_the_registry_is(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sudoku" / "latest").symlink_to("3")
    assert registry.get("sudoku", "latest").canary_accuracy == 0.0


def test_nothing_is_written_through_a_link(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sudoku").rename(tmp_path / "outside")
    (tmp_path / "mine" / "sudoku").symlink_to(tmp_path / "outside")
    with pytest.raises(CheckpointError, match="leads out"):
        registry.use("sudoku", "0")
    with pytest.raises(CheckpointError, match="leads out"):
        registry.place("sudoku", "6")
    assert not (tmp_path / "outside" / "CURRENT").exists()


def test_what_cannot_be_written_is_said(tmp_path: Path, tiny) -> None:
    (tmp_path / "file").write_text("")
    write(tmp_path / "shipped" / "sudoku" / "1", tiny)
    with pytest.raises(RegistryAwayError, match="cannot be written"):
        Registry([tmp_path / "file", tmp_path / "shipped"]).use("sudoku", "1")


def test_a_config_that_is_no_file_is_not_waited_for(registry: Registry, tmp_path: Path) -> None:
    config = tmp_path / "mine" / "sudoku" / "1" / "config.json"
    config.unlink()
    os.mkfifo(config)
    with pytest.raises(CheckpointError, match="not a file"):
        registry.get("sudoku", "1")


def test_an_unknown_version_has_an_error_of_its_own(registry: Registry) -> None:
    with pytest.raises(UnknownVersionError, match="no version '9' of task 'sudoku'"):
        registry.use("sudoku", "9")
