"""`hrm-train inspect`: every picture comes with the numbers that it shows."""

import json

import pytest

from tests.training.tiny_run import files_up_to
from training.cli import main
from training.errors import RunError
from training.pictures import panels, save_numbers, save_picture

FEW = ["--sample", "6", "--boards", "1", "--segments", "3", "--baseline-steps", "1"]
PICTURES = {"prediction-1", "difficulty", "participation", "residuals", "trajectories"}


@pytest.fixture
def inspect(tiny_registry, tmp_path, capsys):
    """Runs `hrm-train inspect` on a small checkpoint; returns its exit code and what it wrote."""

    def run(out):
        checkpoint = tiny_registry / "sudoku" / "tiny"
        code = main([*map(str, ("inspect", checkpoint, *FEW, "--out", tmp_path / out))])
        return code, "".join(capsys.readouterr())

    return run


def test_every_picture_lies_beside_its_numbers_and_comes_out_the_same_again(inspect, tmp_path):
    code, said = inspect("pictures")
    assert code == 0
    assert "just after an update of z_H, z_L moves" in said
    out = tmp_path / "pictures"
    assert {path.stem for path in out.glob("*.svg")} == {path.stem for path in out.glob("*.json")} == PICTURES
    numbers = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    assert [call["module"] for call in numbers["residuals"]["hrm"]] == ["L", "H"] * 3
    assert set(numbers["residuals"]["baselines"]) == {"recurrent", "feed-forward"}
    assert set(numbers["trajectories"]["trajectories"]) == {"z_H", "z_L", "recurrent", "feed-forward"}
    assert len(numbers["prediction-1"]["segments"]) == 3
    assert numbers["difficulty"]["bins"][0]["segments"] == 3
    inspect("again")
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_pictures_may_be_png(tmp_path):
    save_picture(panels(2)[0], tmp_path / "new" / "picture.png")
    assert (tmp_path / "new" / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("save", "what", "name"),
    [
        (save_picture, panels(2)[0], "picture.png"),
        (save_picture, panels(2)[0], "picture.svg"),
        (save_numbers, [0] * 1000, "numbers.json"),
    ],
    ids=["png", "svg", "json"],
)
def test_a_full_disk_leaves_what_was_there(tmp_path, save, what, name):
    path = tmp_path / name
    path.write_text("before")
    with files_up_to(1000), pytest.raises(RunError, match=f"{name}: File too large"):
        save(what, path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(name, "before")]


def test_a_place_that_cannot_be_written_is_named(inspect, tmp_path):
    (tmp_path / "pictures").write_text("in the way")
    code, said = inspect("pictures")
    assert code == 2
    assert str(tmp_path / "pictures") in said
    assert said.splitlines()[-1].startswith("hrm-train: ")


def test_a_run_has_no_puzzles_of_its_own(tmp_path, capsys):
    (tmp_path / "recipe.json").write_text("{}")
    assert main(["inspect", str(tmp_path)]) == 2
    assert "name a CSV file or a dataset" in capsys.readouterr().err
