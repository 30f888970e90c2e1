import numpy as np

from model.tasks.sudoku import BLANK
from training.data.sudoku_solver import solve

EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
HARDEST = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."


def test_the_only_solution_is_found_and_proved_to_be_the_only_one(sudoku):
    answers, solutions, guesses = solve(np.stack([sudoku.parse(EASY), sudoku.parse(HARDEST)]))
    assert sudoku.format(answers[0], "").startswith("534678912672195348")
    assert sudoku.check(sudoku.parse(HARDEST), answers[1]).valid
    assert solutions.tolist() == [1, 1]
    assert guesses[0] == 0, "singles are enough"
    assert guesses[1] > 10


def test_a_puzzle_with_a_clue_too_few_has_several_solutions(sudoku):
    puzzle = sudoku.parse("................12..3.45........65.7.2........8...3......1.......5.9.3..7...2....")
    fewer = np.tile(puzzle, (17, 1))
    fewer[np.arange(17), np.flatnonzero(puzzle != BLANK)] = BLANK
    answers, solutions, _ = solve(fewer)
    assert (solutions == 2).all(), "a 17-clue puzzle can spare no clue"
    assert sudoku.check_many(fewer, answers).all(), "one of the solutions comes back all the same"


def test_two_answers_that_differ_in_four_cells_are_both_counted(generated):
    rectangle = find_exchangeable_rectangle(generated[1])
    assert solve(rectangle[None])[1].tolist() == [2]
    filled = rectangle.copy()
    filled[np.flatnonzero(rectangle == BLANK)[0]] = min(set(range(2, 11)) - set(peers(rectangle)))
    assert solve(filled[None])[1].tolist() == [1]


def find_exchangeable_rectangle(answers):
    """A full grid without four cells that hold a b / b a in two boxes: the digits could be exchanged."""
    for answer in answers:
        grid = answer.reshape(9, 9)
        for r, s in ((0, 1), (0, 2), (1, 2)):
            for c in range(9):
                for d in range(9):
                    if c // 3 != d // 3 and grid[r, c] == grid[s, d] and grid[r, d] == grid[s, c]:
                        blanked = grid.copy()
                        blanked[np.ix_((r, s), (c, d))] = BLANK
                        return blanked.ravel()
    raise AssertionError("no grid has one")


def peers(puzzle):
    """The digits beside the first blank in its units."""
    grid, cell = puzzle.reshape(9, 9), np.flatnonzero(puzzle == BLANK)[0]
    r, c = divmod(cell, 9)
    box = grid[r // 3 * 3 : r // 3 * 3 + 3, c // 3 * 3 : c // 3 * 3 + 3]
    return [*grid[r], *grid[:, c], *box.ravel()]


def test_what_contradicts_itself_has_no_solution():
    twice = np.full((1, 81), BLANK, dtype=np.uint8)
    twice[0, [0, 8]] = 6
    dead = np.full((1, 81), BLANK, dtype=np.uint8)
    dead[0, :8] = np.arange(2, 10)  # 1 to 8 in the first row ...
    dead[0, 17] = 10  # ... and its last cell cannot be the 9
    for puzzle in (twice, dead):
        answers, solutions, _ = solve(puzzle)
        assert solutions.tolist() == [0]
        assert not answers.any()


def test_the_empty_grid_has_many_solutions(sudoku):
    empty = np.full((1, 81), BLANK, dtype=np.uint8)
    answers, solutions, _ = solve(empty)
    assert solutions.tolist() == [2]
    assert sudoku.check(empty[0], answers[0]).valid
