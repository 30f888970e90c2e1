"""Reading puzzles from CSV, NDJSON and plain lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cli.flags import CommandError
from service.cli.rows import Row, check_options, read_rows
from service.schemas import Mode, SolveRequest


def read(text: str, *, is_csv: bool = False, **options: object) -> list[Row]:
    return read_rows(text.splitlines(keepends=True), options, is_csv=is_csv)


def test_csv_is_known_by_its_header_and_its_columns_by_their_names() -> None:
    rows = read("rating,Question,answer,source\n7,53..,5312,17_clue\n,..12,,\n")
    assert rows == [
        Row(2, SolveRequest(puzzle="53.."), source="17_clue", answer="5312"),
        Row(3, SolveRequest(puzzle="..12")),
    ]


def test_a_csv_row_of_another_width_is_an_error_in_its_place() -> None:
    rows = read("source,question,answer,rating\na,1,2,3\na,1,2\n\na,1,2,3\n")
    assert [(row.line, row.error) for row in rows] == [
        (2, None),
        (3, "3 columns where the first line has 4"),
        (5, None),
    ]


def test_a_csv_file_without_a_header_is_refused() -> None:
    with pytest.raises(CommandError, match="question"):
        read("17_clue,53..,5312,7\n", is_csv=True)


def test_plain_lines_are_puzzles_with_their_spaces() -> None:
    assert read("# S G #\r\n\n  \n53..", task="maze") == [
        Row(1, SolveRequest(task="maze", puzzle="# S G #")),
        Row(4, SolveRequest(task="maze", puzzle="53..")),
    ]


def test_ndjson_lines_are_grids_or_objects_that_may_say_more() -> None:
    rows = read('[[1, 2]]\n{"puzzle": "53..", "max_segments": 3, "source": "s", "answer": "5312"}\n', max_segments=9)
    assert rows == [
        Row(1, SolveRequest(puzzle=[[1, 2]], max_segments=9)),
        Row(2, SolveRequest(puzzle="53..", max_segments=3), source="s", answer="5312"),
    ]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"puzzle": ', "not JSON"),
        ('{"question": "1", "maximum": 3}', "maximum: extra inputs are not permitted"),
        ('{"puzzle": 7}', "puzzle: input should be a valid list"),
        ('{"puzzle": "1", "max_segments": 0}', "max_segments: input should be greater than or equal to 1"),
        ("{}", "puzzle: field required"),
        ('{"puzzle": "1", "source": 17}', "source: input should be a valid string"),
        ('{"puzzle": "1", "answer": {}}', "answer: input should be a valid list"),
        ("[" + 5000 * "7" + "]", "not JSON"),
        (100_000 * "[", "not JSON"),
    ],
)
def test_a_bad_line_spoils_only_itself(line: str, error: str) -> None:
    bad, good = read(f"{line}\n53..\n")
    assert bad.request is None
    assert bad.error is not None
    assert bad.error.startswith(error)
    assert good == Row(2, SolveRequest(puzzle="53.."))


def test_options_that_no_request_may_have_are_named_by_their_flag() -> None:
    check_options({"mode": "fixed", "max_segments": 3})
    with pytest.raises(CommandError, match="--max-segments: input should be greater than or equal to 1"):
        check_options({"max_segments": 0})
    with pytest.raises(CommandError, match="--mode: input should be 'act'"):
        check_options({"mode": "quick"})


def test_an_options_text_is_read_as_what_it_means() -> None:
    (row,) = read("1", mode="fixed")
    assert row.request is not None
    assert row.request.mode is Mode.FIXED


def test_a_csv_cell_that_never_ends_is_an_error_and_not_a_crash() -> None:
    rows = read("question\n" + "1" * 200_000 + "\n53..\n")
    assert [(row.line, row.error) for row in rows] == [(2, "field larger than field limit (131072)"), (3, None)]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), max_size=20)))
def test_any_text_is_read_line_by_line(lines: list[str]) -> None:
    """Every line that is not blank becomes one row, in order, unless a header made it CSV."""
    rows = read_rows([line + "\n" for line in lines], {}, is_csv=False)
    filled = [number for number, line in enumerate(lines, start=1) if line.strip()]
    assert [row.line for row in rows] == filled
