"""Sudoku: every way people write one, every mistake by its name, and a checker that is never wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks import PuzzleError, get_task
from model.tasks.sudoku import BLANK

SUDOKU = get_task("sudoku")
PUZZLE, ANSWER = SUDOKU.examples()[0]
TOKENS, SOLVED = SUDOKU.parse(PUZZLE), SUDOKU.parse_answer(ANSWER)
GRID = [[int(c) if c != "." else 0 for c in PUZZLE[r * 9 : r * 9 + 9]] for r in range(9)]

seeds = st.integers(0, 2**32 - 1)


def changed(text: str, cell: int, to: str) -> str:
    return text[:cell] + to + text[cell + 1 :]


@st.composite
def answers(draw) -> np.ndarray:
    """The solved example under a symmetry, with up to three cells overwritten (perhaps with what they held)."""
    answer = SUDOKU.random_symmetry(np.random.default_rng(draw(seeds))).apply(SOLVED)
    for cell, token in draw(st.dictionaries(st.integers(0, 80), st.integers(0, 10), max_size=3)).items():
        answer[cell] = token
    return answer


def solves(puzzle: np.ndarray, answer: np.ndarray) -> bool:
    """The rules of Sudoku as a newspaper prints them."""
    grid = (answer.astype(int) - 1).reshape(9, 9)
    lines = [*grid, *grid.T, *(grid[r : r + 3, c : c + 3].ravel() for r in (0, 3, 6) for c in (0, 3, 6))]
    givens = puzzle > BLANK
    return all(sorted(line) == list(range(1, 10)) for line in lines) and (puzzle[givens] == answer[givens]).all()


@pytest.mark.parametrize(
    "pasted",
    [
        PUZZLE,
        PUZZLE.replace(".", "0"),
        PUZZLE.replace(".", "_"),
        f"\n  {PUZZLE}\r\n",
        "\n".join(PUZZLE[i : i + 9] for i in range(0, 81, 9)),
        "\t".join(PUZZLE),
        SUDOKU.draw(TOKENS),
        SUDOKU.draw(TOKENS).replace("------+-------+------", "+-------+-------+-------+"),
        GRID,
    ],
    ids=["dots", "zeros", "underscores", "padded", "lines", "tabs", "drawn", "boxed", "grid"],
)
def test_reads_what_people_paste(pasted):
    assert (SUDOKU.parse(pasted) == TOKENS).all()


@given(cell=st.integers(0, 80), digit=st.integers(1, 9))
def test_one_more_digit_is_refused_if_and_only_if_it_is_there_already(cell, digit):
    row, column = divmod(cell, 9)
    box = [(r, c) for r in range(9) for c in range(9) if (r // 3, c // 3) == (row // 3, column // 3)]
    seen = {GRID[row][c] for c in range(9)} | {GRID[r][column] for r in range(9)} | {GRID[r][c] for r, c in box}
    puzzle = changed(PUZZLE, cell, str(digit))
    if PUZZLE[cell] == "." and digit in seen:
        with pytest.raises(PuzzleError, match=f"holds {digit} twice"):
            SUDOKU.parse(puzzle)
    elif PUZZLE[cell] == ".":
        assert SUDOKU.parse(puzzle)[cell] == digit + 1


def test_tokens_are_those_of_the_published_datasets():
    assert TOKENS[:5].tolist() == [6, 4, 1, 1, 8]  # 5 3 . . 7


def test_answers_come_back_in_the_form_of_the_question():
    assert SUDOKU.format(SOLVED, like=PUZZLE) == ANSWER
    assert SUDOKU.format(SOLVED, like=GRID)[0] == [5, 3, 4, 6, 7, 8, 9, 1, 2]


def test_impossible_tokens_are_written_as_blanks():
    assert SUDOKU.format(np.zeros(81, dtype=np.uint8), like="") == "." * 81


def test_draws_a_grid_with_rules():
    assert SUDOKU.draw(TOKENS).splitlines()[:4] == [
        "5 3 . | . 7 . | . . .",
        "6 . . | 1 9 5 | . . .",
        ". 9 8 | . . . | . 6 .",
        "------+-------+------",
    ]


@pytest.mark.parametrize(
    ("puzzle", "detail", "pointer"),
    [
        (PUZZLE[:80], "expected 81 cells, got 80", ""),
        (PUZZLE + ".", "expected 81 cells, got 82", ""),
        ("." * 20_000, "the text has 20000 characters; at most 16384 are read", ""),
        (
            changed(PUZZLE, 7, "x"),
            "character 8 is 'x'; expected 1 to 9, or one of '.', '0', '_' for a blank",
            "/7",
        ),
        (
            "\n" + changed(PUZZLE, 7, "٣"),  # a digit, in Arabic
            "character 9 is '٣'; expected 1 to 9, or one of '.', '0', '_' for a blank",
            "/8",
        ),
        (changed(PUZZLE, 2, "5"), "row 1 holds 5 twice: at row 1, column 1 and at row 1, column 3", "/2"),
        (
            changed(changed("." * 81, 1, "7"), 73, "7"),
            "column 2 holds 7 twice: at row 1, column 2 and at row 9, column 2",
            "/73",
        ),
        (
            "\n".join(["1........", ".1.......", *["." * 9] * 7]),
            "box 1 holds 1 twice: at row 1, column 1 and at row 2, column 2",
            "/11",
        ),
        (GRID[:8], "expected 9 rows, got 8", ""),
        ([*GRID[:8], GRID[8][:8]], "row 9 has 8 cells, expected 9", "/8"),
        ([*GRID[:8], "....8..79"], "row 9 is not a list", "/8"),
        (
            [[5, 3, 10, *GRID[0][3:]], *GRID[1:]],
            "row 1, column 3: expected a whole number from 0 to 9, got 10",
            "/0/2",
        ),
        (
            [[5, 3, 5, *GRID[0][3:]], *GRID[1:]],
            "row 1 holds 5 twice: at row 1, column 1 and at row 1, column 3",
            "/0/2",
        ),
    ],
)
def test_bad_puzzles_are_named_exactly(puzzle, detail, pointer):
    with pytest.raises(PuzzleError) as raised:
        SUDOKU.parse(puzzle)
    assert (raised.value.detail, raised.value.pointer) == (detail, pointer)


def test_an_answer_with_a_blank_is_refused():
    with pytest.raises(PuzzleError, match="the answer leaves row 2, column 1 blank") as raised:
        SUDOKU.parse_answer(changed(ANSWER, 9, "."))
    assert raised.value.pointer == "/9"


def test_says_what_an_answer_violates():
    wrong = SUDOKU.parse_answer(changed(ANSWER, 0, "4"))
    assert SUDOKU.check(TOKENS, SOLVED).violations == ()
    assert SUDOKU.check(TOKENS, wrong).violations == (
        "row 1, column 1: given 5 was changed",
        "row 1 does not hold each digit once",
        "column 1 does not hold each digit once",
        "box 1 does not hold each digit once",
    )


@given(answer=answers(), givens=st.sets(st.integers(0, 80)))
def test_both_checkers_agree_with_the_rules(answer, givens):
    puzzle = np.full(81, BLANK, dtype=np.uint8)
    cells = list(givens)
    puzzle[cells] = SOLVED[cells]
    expected = solves(puzzle, answer)
    assert SUDOKU.check(puzzle, answer).valid == expected
    assert SUDOKU.check_many(puzzle[None], answer[None]).tolist() == [expected]


@given(answer=answers())
def test_both_checkers_agree_on_what_breaks_only_the_rules(answer):
    puzzle = np.full(81, BLANK, dtype=np.uint8)
    expected = solves(puzzle, answer)
    assert SUDOKU.check(puzzle, answer).valid == expected
    assert SUDOKU.check_many(np.stack([puzzle, TOKENS]), np.stack([answer, SOLVED])).tolist() == [expected, True]


@given(seed=seeds)
def test_a_symmetry_moves_lines_as_a_whole_and_renames_digits(seed):
    symmetry = SUDOKU.random_symmetry(np.random.default_rng(seed))
    changed_puzzle, changed_answer = symmetry.apply(TOKENS), symmetry.apply(SOLVED)
    assert solves(changed_puzzle, changed_answer)
    assert (changed_puzzle == BLANK).sum() == (TOKENS == BLANK).sum()
    assert (symmetry.inverse().apply(changed_answer) == SOLVED).all()


def test_symmetries_differ_and_are_named():
    rng = np.random.default_rng(0)
    drawn = [SUDOKU.random_symmetry(rng) for _ in range(50)]
    assert len({symmetry.name for symmetry in drawn}) == 50
    assert len({symmetry.apply(SOLVED).tobytes() for symmetry in drawn}) == 50
    assert {symmetry.name.endswith("transposed") for symmetry in drawn} == {True, False}
