import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.tasks import get_task
from model.tasks.sudoku import BLANK
from training.data.leakage import find_leakage
from training.data.sudoku_canonical import canonical

SUDOKU = get_task("sudoku")

CYCLIC = np.array([[(3 * (r % 3) + r // 3 + c) % 9 + 2 for c in range(9)] for r in range(9)], dtype=np.uint8).ravel()
"""A grid with many symmetries of its own, so that its clues alone decide between the images."""


def image(seed, *sequences):
    symmetry = SUDOKU.random_symmetry(np.random.default_rng(seed))
    return [symmetry.apply(sequence) for sequence in sequences]


@given(index=st.integers(0, 199), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_every_image_of_a_puzzle_has_the_same_form(generated, index, seed):
    puzzles, answers = (rows[index : index + 1] for rows in generated)
    for form, other in zip(canonical(puzzles, answers), canonical(*image(seed, puzzles, answers)), strict=True):
        assert (form == other).all()


@given(clues=st.sets(st.integers(0, 80), min_size=1, max_size=30), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_so_has_an_image_of_a_grid_that_is_symmetric_itself(clues, seed):
    puzzle = np.full(81, BLANK, dtype=np.uint8)
    puzzle[list(clues)] = CYCLIC[list(clues)]
    form, _ = canonical(puzzle[None], CYCLIC[None])
    other, _ = canonical(*image(seed, puzzle[None], CYCLIC[None]))
    assert (form == other).all()


def test_the_form_is_itself_an_image_of_the_puzzle(generated):
    puzzles, answers = generated
    forms, solutions = canonical(puzzles, answers)
    assert ((forms != BLANK).sum(axis=1) == (puzzles != BLANK).sum(axis=1)).all()
    assert SUDOKU.check_many(forms, solutions).all()
    assert (solutions[:, :9] == np.arange(2, 11)).all()
    again = canonical(forms, solutions)
    assert (again[0] == forms).all()
    assert (again[1] == solutions).all()


def test_different_puzzles_keep_different_forms(generated):
    puzzles, answers = generated
    puzzle, fewer = puzzles[0], puzzles[0].copy()
    fewer[np.flatnonzero(fewer != BLANK)[0]] = BLANK
    forms, solutions = canonical(np.stack([puzzle, fewer]), np.stack([answers[0]] * 2))
    assert (forms[0] != forms[1]).any()
    assert (solutions[0] == solutions[1]).all()


def test_leakage_is_seen_through_a_symmetry(generated):
    puzzles, answers = generated
    train = puzzles[:100], answers[:100]
    copied = image(1, puzzles[98:104], answers[98:104])
    leakage = find_leakage(SUDOKU, train, (copied[0], copied[1]))
    assert (leakage.train, leakage.test, leakage.puzzles, leakage.answers) == (100, 6, 2, 2)
    assert "2 of 6 test puzzles are among the 100 of the training set (under any symmetry)" in str(leakage)


def test_a_puzzle_with_other_clues_to_a_known_answer_is_counted_apart(generated):
    puzzles, answers = generated
    other = puzzles[:1].copy()
    other[0, np.flatnonzero(other[0] == BLANK)[0]] = answers[0, np.flatnonzero(other[0] == BLANK)[0]]
    leakage = find_leakage(SUDOKU, (puzzles, answers), (other, answers[:1]))
    assert (leakage.puzzles, leakage.answers) == (0, 1)
