"""A file appears whole or not at all, and what the disk refused first is what is said."""

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from training.one_move import in_one_move


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "file"
    with in_one_move(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert [(each.name, each.read_text()) for each in path.parent.iterdir()] == [("file", "whole")]


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with suppress(KeyboardInterrupt), in_one_move(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "before")]


def test_a_folder_that_refuses_the_tidying_too_does_not_hide_the_first_refusal(tmp_path, monkeypatch):
    def refuse(path, missing_ok):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(PermissionError), in_one_move(tmp_path / "file"):
        raise PermissionError
