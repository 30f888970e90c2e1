from pathlib import Path

import pytest

from model.tasks import get_task
from training.data.sudoku import generate

DATA = Path(__file__).parents[2] / "data"

ROWS = {
    "17_clue": (
        "................12..3.45........65.7.2........8...3......1.......5.9.3..7...2....",
        "976812453458369712213745689391286547524971836687453291862134975145697328739528164",
    ),
    "bug_n": (
        ".1.582.9.8.3...6.2.2.....5.5...9...86..1.4..51...2...4.9.....3.3.5...2.9.6.359.8.",
        "416582793853917642927463851534796128682134975179825364798241536345678219261359487",
    ),
}


@pytest.fixture(scope="session")
def sudoku():
    return get_task("sudoku")


@pytest.fixture(scope="session")
def generated():
    """200 puzzles, minimal ones and others."""
    return generate(200, seed=3, clues=(22, 35))


@pytest.fixture
def write_csv_text(tmp_path):
    """Writes lines into a CSV file."""

    def write(*lines, name="puzzles.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def sudoku_csv(write_csv_text):
    """Two real puzzles."""
    return write_csv_text(
        "source,question,answer,rating", *(f"{name},{puzzle},{answer},5" for name, (puzzle, answer) in ROWS.items())
    )


@pytest.fixture(scope="session")
def arc_root():
    """Six small tasks of ours; aa000004 holds a pair of the evaluation task ee000001, turned and recoloured."""
    return DATA / "arc"
