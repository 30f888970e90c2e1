"""`hrm solve` in this process, with the real engine and a small checkpoint of random weights."""

import io
import json
from pathlib import Path

import pytest

from service.cli import main

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"


@pytest.fixture(autouse=True)
def engine(tiny_registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"CHECKPOINTS": str(tiny_registry), "DEVICE": "cpu", "PRECISION": "fp32", "COMPILE": "off", "SLOTS": "4"}
    for name, value in settings.items():
        monkeypatch.setenv(f"HRM_{name}", value)


def test_a_puzzle_is_drawn_with_its_solution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", PUZZLE]) == 0
    about = capsys.readouterr().out.splitlines()
    assert any(line.startswith("NOT VALID; 4 segments, halted by max_segments; confidence") for line in about)


def test_a_grid_is_answered_with_a_grid(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    grid = [[int(cell) for cell in PUZZLE[row : row + 9].replace(".", "0")] for row in range(0, 81, 9)]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"puzzle": grid, "max_segments": 1}) + "\n"))
    assert main(["solve", "--task", "sudoku", "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["puzzle"], line["segments"], len(line["solution"])) == (grid, 1, 9)


def test_a_file_gives_a_line_a_row_in_order_and_bad_rows_say_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = tmp_path / "puzzles.csv"
    good = [f"s{n % 2},{PUZZLE},{ANSWER},1" for n in range(12)]
    rows.write_text("\n".join(["source,question,answer,rating", *good[:6], f"s0,5{PUZZLE},,1", "s1", *good[6:]]) + "\n")
    output = tmp_path / "out.jsonl"
    assert main(["solve", "--file", str(rows), "--output", str(output), "--max-segments", "3"]) == 1
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert lines[6:8] == [
        {"line": 8, "error": "expected 81 cells, got 82"},
        {"line": 9, "error": "1 columns where the first line has 4"},
    ]
    answered = lines[:6] + lines[8:]
    assert [line["source"] for line in answered] == ["s0", "s1"] * 6
    assert {(line["segments"], line["exact"], line["checkpoint"]) for line in answered} == {(3, False, "sudoku/tiny")}
    summary = capsys.readouterr().out
    assert [row.split()[1] for row in summary.splitlines() if row.startswith("│")] == ["s0", "s1", "all"]


def test_a_source_is_shown_as_it_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = tmp_path / "puzzles.jsonl"
    rows.write_text("".join(json.dumps({"puzzle": PUZZLE, "source": s}) + "\n" for s in ("[/bold]", "[17 clues]")))
    assert main(["solve", "--file", str(rows), "--output", str(tmp_path / "out")]) == 0
    summary = capsys.readouterr().out
    assert "[/bold]" in summary
    assert "[17 clues]" in summary


def test_puzzles_of_different_length_keep_their_order(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    segments = [9, 1, 5, 1, 1, 7, 2, 1, 3, 1]
    rows = tmp_path / "puzzles.jsonl"
    rows.write_text("".join(json.dumps({"puzzle": PUZZLE, "max_segments": n}) + "\n" for n in segments))
    assert main(["solve", "--file", str(rows), "--json"]) == 0
    assert [json.loads(line)["segments"] for line in capsys.readouterr().out.splitlines()] == segments


def test_the_answers_do_not_take_the_place_of_the_puzzles(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = tmp_path / "puzzles.txt"
    rows.write_text(PUZZLE)
    (tmp_path / "link").symlink_to(rows)
    assert main(["solve", "--file", str(rows), "--output", str(tmp_path / "link")]) == 2
    assert capsys.readouterr().err == f"hrm solve: --output: {tmp_path / 'link'} is what --file reads\n"
    assert rows.read_text() == PUZZLE


def test_half_a_character_is_a_bad_puzzle(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(r'{"puzzle": "\ud800"}' + "\n"))
    assert main(["solve", "--task", "sudoku", "--json"]) == 1
    assert "error" in json.loads(capsys.readouterr().out)


def test_nobody_waits_for_company_that_will_not_come(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HRM_BATCH_WAIT_MS", "10000")
    assert main(["solve", "--json", PUZZLE]) == 0
    assert json.loads(capsys.readouterr().out)["puzzle"] == PUZZLE


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--task chess 53", 2, "no checkpoint for task 'chess'; there are: sudoku"),
        ("--output /proc/none 53", 2, "--output: cannot write /proc/none: No such file or directory"),
        ("--output /dev/full 53", 2, "--output: cannot write /dev/full: No space left on device"),
        ("--device cuda:99 53", 2, "device 'cuda:99' is not there"),
        *(
            (f"--url {url} 53", 2, f"--url: must be like http://host:8000, not '{url}'")
            for url in (
                "localhost:8000",
                "http://",
                "http://host:abc",
                "http://127.0.0.1:99999",
                "http://xn--a",
                "ftp://host",
            )
        ),
        ("--url http://127.0.0.1:9 53", 1, "no answer from http://127.0.0.1:9"),
    ],
)
def test_what_stops_a_run_is_one_line(
    arguments: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["solve", *arguments.split()]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(f"hrm solve: {message}")
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_an_empty_input_is_a_mistake(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main(["solve"]) == 2
    assert "there is no puzzle in the input" in capsys.readouterr().err
