"""`"valid": true` is never wrong: ten thousand puzzles through the shipped checkpoint, judged by another program.

The judge is the solver that training data is rated with. It shares no line with the checker: it searches, and finds the
only solution or that there are several or none.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from model.tasks import PuzzleError, Tokens, get_task
from service.engine.local import solve_stream
from service.schemas import Answer, Mode, SolveRequest
from service.settings import load_settings
from training.data.sudoku import generate
from training.data.sudoku_solver import solve

PUZZLES = 10_000
TASK = get_task("sudoku")


@pytest.fixture(autouse=True)
def nothing_ships() -> None:
    """Here it is the shipped checkpoint that is asked."""


def spoilt(puzzles: Tokens, answers: Tokens, rng: np.random.Generator) -> Tokens:
    """A third as they are, a third with a clue less or more (several solutions), a third with a wrong one (none)."""
    spoilt = puzzles.copy()
    for n, puzzle in enumerate(spoilt):
        given, blank = np.flatnonzero(puzzle > 1), np.flatnonzero(puzzle == 1)
        if n % 3 == 1:
            puzzle[rng.choice(given, 4, replace=False)] = 1
        elif n % 3 == 2:
            cell = rng.choice(blank)
            puzzle[cell] = (answers[n, cell] - 2 + rng.integers(1, 9)) % 9 + 2
    return spoilt


def readable(puzzles: Tokens) -> Iterator[Tokens]:
    """Those whose clues do not contradict each other at sight: the others are refused before they are asked."""
    for puzzle in puzzles:
        try:
            yield TASK.parse(TASK.format(puzzle, like=""))
        except PuzzleError:
            continue


def is_solution(puzzle: Tokens, answer: Tokens) -> NDArray[np.bool_]:
    """Whether an answer solves its puzzle: full and without contradiction, it is a puzzle with itself as solution."""
    found, count, _ = solve(answer[None])
    kept = (puzzle == 1) | (puzzle == answer)
    return np.asarray(bool(count[0]) and (found[0] == answer).all() and kept.all())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_accepted_answers_are_right() -> None:
    rng = np.random.default_rng(7)
    puzzles, answers = generate(3 * PUZZLES // 2, seed=7, clues=(28, 50), minimal_share=0.1)
    asked = list(readable(spoilt(puzzles, answers, rng)))[:PUZZLES]
    assert len(asked) == PUZZLES
    _, counts, _ = solve(np.stack(asked))
    assert {0, 1, 2} == set(counts.tolist()), "puzzles without a solution, with one, and with several"
    requests = [
        SolveRequest(puzzle=TASK.format(p, like=""), mode=Mode.VERIFIED, attempts=2, max_segments=3) for p in asked
    ]
    accepted = 0
    for index, answer in solve_stream(load_settings(slots=64), "sudoku", requests):
        assert isinstance(answer, Answer)
        right = is_solution(asked[index], TASK.parse_answer(answer.solution)) if answer.valid else None
        assert right is None or right, f"{requests[index].puzzle} was answered with {answer.solution}"
        assert not (answer.valid and counts[index] == 0)
        accepted += bool(answer.valid)
    assert accepted > PUZZLES / 10, "there was something to judge"
