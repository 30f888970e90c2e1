"""How answers are compared, written, drawn and summed up."""

import io

import pytest
from rich.console import Console

from model.tasks import get_task
from service.cli.results import Result, result_of, to_json, to_text
from service.cli.rows import Row
from service.cli.summary import Summary
from service.schemas import Answer, HaltedBy, SolveRequest, Timing

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
CODECS = {"sudoku": get_task("sudoku")}


def answer(solution: str = SOLUTION, *, valid: bool = True, segments: int = 3) -> Answer:
    return Answer(
        id="1",
        task="sudoku",
        checkpoint="sudoku/1",
        solution=solution,
        valid=valid,
        violations=[] if valid else ["row 1 does not hold each digit once"],
        halted_by=HaltedBy.ACT,
        segments=segments,
        total_segments=segments,
        confidence=0.998,
        q_halt=4.0,
        q_continue=-3.0,
        timing=Timing(queue_s=0, solve_s=0.01),
    )


def row(known: str | None = None, source: str | None = None) -> Row:
    return Row(2, SolveRequest(puzzle=PUZZLE), source=source, answer=known)


@pytest.mark.parametrize(
    ("known", "solution", "exact"),
    [
        (None, SOLUTION, None),
        (SOLUTION, SOLUTION, True),
        (SOLUTION, SOLUTION[::-1], False),
        (SOLUTION, "." + SOLUTION[1:], False),
        ("\n".join(SOLUTION[i : i + 9] for i in range(0, 81, 9)), SOLUTION, True),
    ],
    ids=["unknown", "exact", "another", "left blank", "written otherwise"],
)
def test_an_answer_is_compared_with_the_known_one(known: str | None, solution: str, exact: bool | None) -> None:
    assert result_of(row(known), answer(solution), CODECS).exact is exact


def test_a_known_answer_that_cannot_be_read_is_an_error() -> None:
    result = result_of(row("123"), answer(), CODECS)
    assert to_json(result) == {"line": 2, "error": "the known answer: expected 81 cells, got 3"}


def test_without_a_codec_answers_are_compared_as_they_are() -> None:
    assert result_of(row("x"), answer("x"), {}).exact is True


def test_a_json_line_says_what_was_asked_and_what_came_out() -> None:
    assert to_json(Result(row(source="17_clue"), answer(), exact=True)) == {
        "puzzle": PUZZLE,
        "solution": SOLUTION,
        "valid": True,
        "segments": 3,
        "attempts": 1,
        "total_segments": 3,
        "halted_by": "act",
        "checkpoint": "sudoku/1",
        "source": "17_clue",
        "exact": True,
        "confidence": 0.998,
        "q_halt": 4.0,
        "q_continue": -3.0,
    }


def test_people_see_a_grid_and_what_is_wrong_with_it() -> None:
    text = to_text(Result(row(), answer(valid=False)), CODECS)
    assert text.startswith("5 3 4 | 6 7 8 | 9 1 2\n")
    assert text.endswith(
        "NOT VALID; 3 segments, halted by act; confidence 99.8%; sudoku/1\n  row 1 does not hold each digit once"
    )


def test_what_cannot_be_drawn_is_shown_as_it_came() -> None:
    assert to_text(Result(row(), answer("." * 81)), CODECS).startswith("." * 81)
    assert to_text(Result(row(), answer()), {}).startswith(SOLUTION)


def test_the_summary_counts_by_source_and_tells_solved_from_unsolved() -> None:
    summary = Summary()
    summary.add(Result(row(source="easy"), answer(segments=2), exact=True))
    summary.add(Result(row(source="easy"), answer(segments=4, valid=True), exact=False))
    summary.add(Result(row(source="hard"), answer(segments=16, valid=False)))
    summary.add(Result(row(source="hard"), None, "no"))
    printed = io.StringIO()
    Console(file=printed, width=120).print(summary.table(2.0))
    lines = [line.replace("│", " ").split() for line in printed.getvalue().splitlines()]
    assert lines[0] == ["4", "puzzles", "in", "2.0", "s,", "2.0", "a", "second"]
    assert ["easy", "2", "50.0%", "100.0%", "3.00", "2.00", "4.00", "0"] in lines
    assert ["hard", "2", "-", "0.0%", "16.00", "-", "16.00", "1"] in lines
    assert ["all", "4", "50.0%", "66.7%", "7.33", "2.00", "10.00", "1"] in lines
