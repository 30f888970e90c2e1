"""The numbers behind the pictures, where they are known beforehand."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from model.hrm import HRM, Carry
from model.tasks import get_task, task_from
from model.tasks.maze import Maze
from tests.training.conftest import few_sudokus, tiny_recipe
from training.evaluation.questions import graded
from training.inspection import participation, residuals, trajectories
from training.inspection.baselines import Baseline
from training.inspection.board import draw_board
from training.inspection.calls import residual


@pytest.fixture
def questions():
    puzzles, answers = few_sudokus(4)
    return graded(puzzles, answers, np.full(4, "few"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return HRM(tiny_recipe().architecture(1)).requires_grad_(False).eval()


def test_a_residual_is_the_rms_of_the_update():
    before, after = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    after[1] = 3.0
    assert residual(before, after).tolist() == [1.0, 3.0]


def test_spikes_after_h_are_found(model, questions, monkeypatch):
    """Scripted: z_L moves by 1, then 0.25 within a cycle; z_H by half as much each time."""
    moves = {"L": iter([1.0, 0.25] * 4), "H": iter([1.0, 0.5, 0.25, 0.125])}

    def step(module, carry, embedding):
        by = next(moves[module])
        return Carry(carry.z_H + by, carry.z_L) if module == "H" else Carry(carry.z_H, carry.z_L + by)

    monkeypatch.setattr(model, "step", step)
    numbers = residuals.measure(model, questions, segments=2, baselines=[])
    assert numbers["spikes"] == pytest.approx([4.0] * 3)
    assert numbers["spike"] == pytest.approx(4.0)
    assert numbers["z_H_decay"] == pytest.approx(0.125)


@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_the_participation_ratio_counts_directions_that_vary_alike(dimensions):
    moments = participation.Moments(16, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        moments.add(torch.randn(5, 1000, dimensions, generator=generator) @ torch.eye(dimensions, 16) + 7.0)
    assert moments.participation_ratio() == pytest.approx(dimensions, rel=0.02)


def test_more_puzzles_are_more_of_the_same_sums(model, questions):
    found = participation.measure(model, questions, segments=1, seed=0)
    assert found["puzzles"] == [1, 2, 4]
    alone = participation.measure(model, questions.rows(np.arange(2)), segments=1, seed=0)
    assert found["trained"]["z_L"][:2] == alone["trained"]["z_L"]
    assert all(1 <= ratio <= 16 for name in ("trained", "untrained") for z in found[name].values() for ratio in z)


def test_a_way_in_a_plane_is_seen_whole(model, questions, monkeypatch):
    """z_L goes round a circle in two of its many directions."""
    angle = iter(np.linspace(0, 2 * np.pi, 8, endpoint=False))

    def step(module, carry, embedding):
        z_L = torch.zeros_like(carry.z_L)
        now = next(angle) if module == "L" else 0.0
        z_L[..., 0, 0], z_L[..., 5, 3] = np.cos(now), np.sin(now)
        return Carry(carry.z_H, z_L)

    monkeypatch.setattr(model, "step", step)
    way = trajectories.measure(model, questions.rows(np.arange(1)), 2, [])["trajectories"]["z_L"]
    assert sum(way["explained"]) == pytest.approx(1.0, abs=1e-4)
    assert np.hypot(*np.array(way["points"]).T) == pytest.approx(np.ones(8), abs=1e-4)


@pytest.mark.parametrize("kind", ["recurrent", "feed-forward"])
def test_networks_to_compare_with_learn_and_have_as_many_states_as_they_are_deep(model, questions, kind):
    baseline = Baseline(kind, model.config, depth=3, seed=0)
    assert len(list(baseline.states(questions))) == 4
    sudoku = get_task("sudoku")
    first = baseline.train(sudoku, questions, steps=1, seed=0)
    assert baseline.train(sudoku, questions, steps=20, seed=1) < 0.95 * first


def pictured(task, puzzle, said, answer):
    """What is drawn of an answer: its texts by colour, and the places of its crosses."""
    axis = Figure().subplots()
    draw_board(axis, task, said, puzzle, answer, before=puzzle)
    texts = {(text.get_color(), text.get_text()) for text in axis.texts if text.get_text()}
    crosses = [tuple(map(float, at)) for group in axis.collections for at in group.get_offsets()]
    return texts, crosses


def test_a_board_tells_what_is_given_right_and_wrong():
    task = task_from({"kind": "grid", "name": "row", "shape": [1, 4], "alphabet": ".abc", "blank": "."})
    puzzle, said, answer = (task.parse(text) for text in ("a...", "aab.", "aacb"))
    texts, _ = pictured(task, puzzle, said, answer)
    assert texts == {("black", "a"), ("#0072B2", "a"), ("#C00000", "b")}


def test_wrong_cells_of_coloured_boards_are_crossed():
    maze = Maze(2, 3)
    puzzle, answer = maze.parse("S  \n  G"), maze.parse_answer("Soo\n  G")
    assert pictured(maze, puzzle, maze.parse_answer("So \no G"), answer)[1] == [(2.0, 0.0), (0.0, 1.0)]
    assert pictured(maze, puzzle, puzzle, answer)[1] == [], "the puzzle is not wrong"
    arc = get_task("arc")
    grids = [arc.parse(grid) for grid in ([[1, 2]], [[2, 1]], [[2, 2]])]
    assert pictured(arc, grids[0], grids[1], grids[2])[1] == [(1.0, 0.0)]
