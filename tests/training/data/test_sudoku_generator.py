import time

import numpy as np
import pytest

from model.tasks.sudoku import BLANK
from training.data.errors import DataError
from training.data.sudoku import generate, generate_rated
from training.data.sudoku_canonical import canonical
from training.data.sudoku_solver import solve


def clue_counts(puzzles):
    return (puzzles != BLANK).sum(axis=1)


def test_every_puzzle_has_exactly_the_answer_it_comes_with(generated):
    puzzles, answers = generated
    solved, solutions, _ = solve(puzzles)
    assert (solutions == 1).all()
    assert (solved == answers).all()


def test_minimal_puzzles_can_spare_no_clue():
    puzzles, _ = generate(20, seed=4, minimal_share=1)
    assert clue_counts(puzzles).max() <= 27
    for puzzle in puzzles:
        clues = np.flatnonzero(puzzle != BLANK)
        fewer = np.tile(puzzle, (len(clues), 1))
        fewer[np.arange(len(clues)), clues] = BLANK
        assert (solve(fewer)[1] == 2).all()


def test_the_other_puzzles_have_as_many_clues_as_was_asked():
    counts = clue_counts(generate(400, seed=5, clues=(30, 33), minimal_share=0)[0])
    assert sorted(set(counts.tolist())) == [30, 31, 32, 33]
    assert (clue_counts(generate(50, seed=5, clues=(71, 71), minimal_share=0)[0]) == 71).all()


def test_half_of_them_are_minimal_by_default():
    puzzles, _ = generate(400, seed=6, clues=(40, 50))
    assert 0.4 < (clue_counts(puzzles) < 30).mean() < 0.6


def test_a_seed_gives_the_same_puzzles_and_more_begin_with_the_same():
    few, _ = generate(30, seed=7)
    more, _ = generate(60, seed=7)
    other, _ = generate(30, seed=8)
    assert (few == more[:30]).all()
    assert (few != other).any(axis=1).all()


def test_full_grids_are_different_ones_and_not_images_of_a_few(generated):
    puzzles, answers = generated
    _, forms = canonical(puzzles, answers)
    assert len(np.unique(forms, axis=0)) == len(answers)


def test_every_digit_comes_equally_often_in_every_cell():
    _, answers = generate(2000, seed=9, clues=(75, 81), minimal_share=0)
    shares = np.stack([(answers == digit + 1).mean(axis=0) for digit in range(1, 10)])
    assert abs(shares - 1 / 9).max() < 0.04


def test_the_difficulty_is_the_solver_s_guesses():
    puzzles, answers, guesses = generate_rated(20, seed=10, minimal_share=1, guesses=(3, 6))
    solved, solutions, needed = solve(puzzles)
    assert (solutions == 1).all()
    assert (solved == answers).all()
    assert needed.tolist() == guesses.tolist()
    assert set(guesses.tolist()) <= {3, 4, 5, 6}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"clues": (16, 30)}, "clues 16 to 30: the range lies within 17 to 81"),
        ({"clues": (17, 20)}, "reaches up to at least 24"),
        ({"clues": (35, 30)}, "clues 35 to 30"),
        ({"minimal_share": 1.5}, "minimal_share 1.5 is not between 0 and 1"),
    ],
)
def test_impossible_wishes_are_refused(wanted, message):
    with pytest.raises(DataError, match=message):
        generate(10, seed=0, **wanted)


def test_a_difficulty_that_never_comes_is_given_up():
    with pytest.raises(DataError, match="takes 5 to 9 guesses"):
        generate_rated(10, seed=0, clues=(75, 80), minimal_share=0, guesses=(5, 9))


@pytest.mark.slow
def test_ten_thousand_puzzles_take_well_under_a_minute():
    generate(1, seed=0)  # compile
    started = time.process_time()
    generate(10_000, seed=1, clues=(24, 35), minimal_share=0)
    assert time.process_time() - started < 30
