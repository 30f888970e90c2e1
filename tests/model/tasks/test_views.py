"""Further looks at a puzzle: none twice, and an end where there are no more."""

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.tasks import get_task
from model.tasks.maze import Maze
from model.tasks.views import further_views

SUDOKU = get_task("sudoku")
PUZZLE = SUDOKU.parse(SUDOKU.examples()[0][0])


@given(st.integers(0, 2**32 - 1))
def test_no_view_is_shown_twice(seed):
    looks = islice(further_views(SUDOKU, PUZZLE, np.random.default_rng(seed)), 20)
    shown = {look.apply(PUZZLE).tobytes() for look in looks}
    assert len(shown) == 20
    assert PUZZLE.tobytes() not in shown


def test_a_maze_has_seven_further_views_and_an_even_one_none():
    maze = Maze(3, 3)
    assert len(list(further_views(maze, maze.parse("S  \n# #\n  G"), np.random.default_rng(0)))) == 7
    blank = np.full(9, 2, dtype=np.uint8)
    assert list(further_views(maze, blank, np.random.default_rng(0))) == []
