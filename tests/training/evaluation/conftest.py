import numpy as np
import pytest

from model.tasks import get_task
from tests.conftest import ANSWER, PUZZLE
from training.cli import main


@pytest.fixture
def run(capsys):
    """Runs `hrm-train`; returns its exit code and what it wrote on stdout and stderr."""

    def run_main(*arguments):
        code = main([*map(str, arguments)])
        return code, *capsys.readouterr()

    return run_main


@pytest.fixture
def csv(tmp_path):
    """Twenty images of one puzzle from two sources, with ratings 0 to 19."""
    task, rng, path = get_task("sudoku"), np.random.default_rng(0), tmp_path / "puzzles.csv"
    lines = ["source,question,answer,rating"]
    for n in range(20):
        symmetry = task.random_symmetry(rng)
        puzzle, answer = (task.format(symmetry.apply(task.parse(text)), "") for text in (PUZZLE, ANSWER))
        lines.append(f"{'ab'[n % 2]},{puzzle},{answer},{n}")
    path.write_text("\n".join(lines) + "\n")
    return path
