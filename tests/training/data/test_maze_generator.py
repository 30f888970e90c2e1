import numpy as np
import pytest

from model.tasks.maze import FREE, GOAL, PATH, START, WALL, Maze
from training.data.check import first_wrong
from training.data.errors import DataError
from training.data.maze import generate


def test_every_answer_is_a_shortest_path_of_at_least_the_wanted_length():
    puzzles, answers = generate(150, seed=1, shape=(10, 12), min_path=15)
    maze = Maze(10, 12)
    assert first_wrong(maze, puzzles, answers) is None
    assert min(maze.shortest(puzzle) for puzzle in puzzles) >= 15


def test_the_hard_set_has_paths_beyond_110():
    puzzles, answers = generate(3, seed=2)
    assert puzzles.shape == (3, 900)
    assert first_wrong(Maze(30, 30), puzzles, answers) is None
    assert min(Maze(30, 30).shortest(puzzle) for puzzle in puzzles) > 110


def test_a_single_shortest_path_can_be_asked_for():
    puzzles, answers = generate(60, seed=3, shape=(8, 8), min_path=8, unique=True)
    maze = Maze(8, 8)
    for puzzle, answer in zip(puzzles, answers, strict=True):
        shortest = maze.shortest(puzzle)
        for cell in np.flatnonzero(answer == PATH):
            blocked = puzzle.copy()
            blocked[cell] = WALL
            assert maze.shortest(blocked) != shortest, "another path of this length avoids the cell"


def test_otherwise_the_shortest_paths_are_all_drawn():
    puzzles, answers = generate(400, seed=4, shape=(2, 2), min_path=2)
    open_ones = (puzzles == FREE).sum(axis=1) == 2
    ways = np.unique(answers[open_ones].argmax(axis=1), return_counts=True)[1]
    assert len(ways) > 1
    assert ways.min() > 0.2 * ways.sum() / len(ways)


def test_of_several_shortest_paths_the_first_can_be_asked_for():
    """Walking back from G, it goes up rather than down, down rather than left, left rather than right."""
    puzzles, answers = generate(100, seed=4, shape=(6, 6), min_path=6, first=True)
    maze = Maze(6, 6)
    assert first_wrong(maze, puzzles, answers) is None
    for puzzle, answer in zip(puzzles.reshape(-1, 6, 6), answers.reshape(-1, 6, 6), strict=True):
        start, cell = (tuple(np.argwhere(puzzle == token)[0]) for token in (START, GOAL))
        moved = np.where(puzzle == START, FREE, np.where(puzzle == GOAL, WALL, puzzle)).astype(np.uint8)
        left = maze.shortest(puzzle.ravel())
        while left > 1:
            ways = [(cell[0] + r, cell[1] + c) for r, c in ((-1, 0), (1, 0), (0, -1), (0, 1))]
            ways = [way for way in ways if min(way) >= 0 and max(way) < 6 and moved[way] == FREE and way != start]
            closer = []
            for way in ways:
                probe = moved.copy()
                probe[start], probe[way] = START, GOAL
                if maze.shortest(probe.ravel()) == left - 1:
                    closer.append(way)
            cell, left = closer[0], left - 1
            assert answer[cell] == PATH


def test_a_seed_gives_the_same_mazes_and_more_begin_with_the_same():
    few, _ = generate(10, seed=5, shape=(9, 9), min_path=9)
    more, _ = generate(130, seed=5, shape=(9, 9), min_path=9)
    other, _ = generate(10, seed=6, shape=(9, 9), min_path=9)
    assert (few == more[:10]).all()
    assert (few != other).any()


def test_a_path_that_no_maze_has_is_refused():
    with pytest.raises(DataError, match="mazes of 5 x 5 hardly ever have a shortest path of 40 steps"):
        generate(1, seed=0, shape=(5, 5), min_path=40)
