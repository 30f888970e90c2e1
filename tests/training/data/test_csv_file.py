import os
from pathlib import Path

import numpy as np
import pytest

from model.tasks import task_from
from model.tasks.maze import Maze
from training.data.csv_file import read_csv, write_csv
from training.data.errors import DataError
from training.data.generators import Wanted, generate

PUZZLE = ".1.582.9.8.3...6.2.2.....5.5...9...86..1.4..51...2...4.9.....3.3.5...2.9.6.359.8."
ANSWER = "416582793853917642927463851534796128682134975179825364798241536345678219261359487"
UNSOLVABLE = "12345678........9".ljust(81, ".")
HEADER = "source,question,answer,rating"


def test_rows_are_read_as_tokens_with_source_and_rating(sudoku_csv, sudoku):
    table = read_csv(sudoku_csv, sudoku)
    assert table.sources == ["17_clue", "bug_n"]
    assert table.ratings.tolist() == [5, 5]
    assert sudoku.format(table.puzzles[1], "") == PUZZLE
    assert sudoku.format(table.answers[1], "") == ANSWER


def test_source_and_rating_may_be_missing(write_csv_text, sudoku):
    table = read_csv(write_csv_text("answer,question", f"{ANSWER},{PUZZLE}", name="mine.csv"), sudoku)
    assert table.sources == ["mine"]
    assert np.isnan(table.ratings).all()


def test_a_spreadsheet_s_byte_order_mark_is_no_part_of_the_header(write_csv_text, sudoku):
    table = read_csv(write_csv_text("\ufeffquestion,answer", f"{PUZZLE},{ANSWER}"), sudoku)
    assert sudoku.format(table.puzzles[0], "") == PUZZLE


def test_puzzles_may_be_written_in_any_way_the_codec_reads(write_csv_text, sudoku):
    pretty = "\n".join(PUZZLE[i : i + 9] for i in range(0, 81, 9)).replace(".", "_")
    table = read_csv(write_csv_text("question,answer", f'"{pretty}",{ANSWER}'), sudoku)
    assert sudoku.format(table.puzzles[0], "") == PUZZLE


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["source,question,answr,rating"], "row 1: unknown column 'answr'; .*nearest: 'answer'"),
        (["source,question,rating"], "row 1: expected one column 'answer', found 0"),
        ([""], "row 1: expected one column 'question', found 0"),
        ([HEADER], "there are no puzzles in it"),
        (
            [HEADER, f"a,{PUZZLE},{ANSWER},1", f"a,{PUZZLE[:80]},{ANSWER},1"],
            "row 3, question: expected 81 cells, got 80",
        ),
        ([HEADER, f"a,{PUZZLE},{ANSWER[:80]},1"], "row 2, answer: expected 81 cells, got 80"),
        ([HEADER, f"a,{PUZZLE},{PUZZLE},1"], "row 2, answer: the answer leaves row 1, column 1 blank"),
        ([HEADER, f"a,x{PUZZLE[1:]},{ANSWER},1"], "row 2, question: character 1 is 'x'"),
        ([HEADER, f"a,55{PUZZLE[2:]},{ANSWER},1"], "row 2, question: row 1 holds 5 twice"),
        ([HEADER, f"a,{PUZZLE},{ANSWER[:-2]}78,1"], "row 2: the answer is wrong: row 9, column 8: given 8 was changed"),
        ([HEADER, f"a,{PUZZLE},{ANSWER[9:]}{ANSWER[:9]},1"], "row 2: the answer is wrong: "),
        (
            [HEADER, f"a,{PUZZLE},{ANSWER},1", f"a,{'.' * 81},{ANSWER},1"],
            "row 3: the puzzle has more than one solution",
        ),
        ([HEADER, f"a,{UNSOLVABLE},{ANSWER},1"], "row 2: the puzzle has no solution"),
        ([HEADER, f"a,{PUZZLE},{ANSWER},hard"], "row 2: the rating 'hard' is not a number"),
        ([HEADER, f"a,{PUZZLE},{ANSWER}"], "row 2: 3 fields, expected 4"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_row(write_csv_text, sudoku, lines, message):
    path = write_csv_text(*lines)
    with pytest.raises(DataError, match=rf"{path}.*{message}") as raised:
        read_csv(path, sudoku)
    assert "\n" not in str(raised.value)


def test_what_is_no_csv_file_at_all_is_named(tmp_path, sudoku):
    (tmp_path / "binary.csv").write_bytes(b"question,answer\n\xff\xfe\x00")
    with pytest.raises(DataError, match=r"binary\.csv: byte 16 is not UTF-8 text"):
        read_csv(tmp_path / "binary.csv", sudoku)
    with pytest.raises(DataError, match=r"absent\.csv: No such file"):
        read_csv(tmp_path / "absent.csv", sudoku)


def test_a_maze_s_answer_must_be_a_shortest_path(write_csv_text):
    maze, puzzle = Maze(3, 3), "S G" + " # " + "   "
    read_csv(write_csv_text("question,answer", f"{puzzle},SoG #    "), maze)
    for answer, reason in (
        ("SoGo# ooo", "fork"),
        ("S G # ", "the path ends here"),
        ("S Go#oooo", "a path of 2 steps is shorter"),
    ):
        with pytest.raises(DataError, match=f"row 2: the answer is wrong: .*{reason}"):
            read_csv(write_csv_text("question,answer", f"{puzzle},{answer:9}"), maze)
    with pytest.raises(DataError, match="row 2, question: no way leads from S to G"):
        read_csv(write_csv_text("question,answer", "S#G # ###,S#G # ###"), maze)


def test_a_grid_task_of_one_s_own_needs_no_code(write_csv_text):
    task = task_from({"kind": "grid", "name": "latin", "shape": [2, 2], "alphabet": ".12", "blank": "."})
    table = read_csv(write_csv_text("question,answer", "1...,1221"), task)
    assert table.puzzles.tolist() == [[2, 1, 1, 1]]
    assert table.answers.tolist() == [[2, 3, 3, 2]]
    with pytest.raises(DataError, match="row 2, answer: the answer leaves row 2, column 2 blank"):
        read_csv(write_csv_text("question,answer", "1...,122."), task)


@pytest.mark.parametrize(
    "task", [Maze(6, 9), task_from({"kind": "sudoku", "shape": [9, 9]})], ids=lambda task: task.name
)
def test_a_written_table_reads_back(tmp_path, task):
    table = generate(task, Wanted(count=5, seed=1))
    write_csv(tmp_path / "t.csv", task, table)
    again = read_csv(tmp_path / "t.csv", task)
    assert (again.puzzles == table.puzzles).all()
    assert (again.answers == table.answers).all()
    assert (again.sources, again.ratings.tolist()) == (table.sources, table.ratings.tolist())


@pytest.mark.skipif("HRM_COMMUNITY_DIR" not in os.environ, reason="needs the community's puzzles in HRM_COMMUNITY_DIR")
def test_the_community_s_puzzles_are_all_right(sudoku):
    table = read_csv(Path(os.environ["HRM_COMMUNITY_DIR"]) / "sudoku-community.dev.csv", sudoku)
    assert len(table) == 1000
