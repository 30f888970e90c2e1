"""Mazes: what can be asked, and when an answer is a path, and when no path is shorter."""

from collections import deque

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model.tasks import PuzzleError, task_from
from model.tasks.maze import FREE, GOAL, PATH, START, WALL, Maze

ROOM = """\
S   #
### #
    #
 ####
    G"""

seeds = st.integers(0, 2**32 - 1)


@st.composite
def mazes(draw) -> tuple[Maze, np.ndarray]:
    """A small maze with walls anywhere and a way from S to G."""
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(2, 7))
    rng = np.random.default_rng(draw(seeds))
    tokens = np.where(rng.random(rows * columns) < draw(st.sampled_from([0.1, 0.3, 0.4])), WALL, FREE).astype(np.uint8)
    start, goal = rng.choice(rows * columns, 2, replace=False)
    tokens[start], tokens[goal] = START, GOAL
    task = Maze(rows, columns)
    assume(len(shortest_path(task, tokens)) > 1)
    return task, tokens


def beside(task: Maze, cell: int) -> list[int]:
    r, c = divmod(cell, task.columns)
    around = [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
    return [y * task.columns + x for y, x in around if 0 <= y < task.rows and 0 <= x < task.columns]


def shortest_path(task: Maze, tokens: np.ndarray, rng: np.random.Generator | None = None) -> list[int]:
    """Breadth first, one of the shortest paths from S to G; empty where there is none."""
    start, goal = (int(np.flatnonzero(tokens == token)[0]) for token in (START, GOAL))
    came_from, queue = {start: start}, deque([start])
    while queue:
        cell = queue.popleft()
        around = beside(task, cell)
        for neighbour in rng.permutation(around).tolist() if rng else around:
            if tokens[neighbour] != WALL and neighbour not in came_from:
                came_from[neighbour] = cell
                queue.append(neighbour)
    if goal not in came_from:
        return []
    path = [goal]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path


def drawn(tokens: np.ndarray, path: list[int]) -> np.ndarray:
    answer = tokens.copy()
    answer[path[1:-1]] = PATH
    return answer


def is_path(task: Maze, puzzle: np.ndarray, answer: np.ndarray) -> bool:
    """The definition, cell by cell: the maze kept, two neighbours for each mark, one for each end, all connected."""
    if any(a != p and (p, a) != (FREE, PATH) for p, a in zip(puzzle.tolist(), answer.tolist(), strict=True)):
        return False
    on_path = {i for i, token in enumerate(answer.tolist()) if token in (START, GOAL, PATH)}
    for cell in on_path:
        neighbours = [n for n in beside(task, cell) if n in on_path]
        if len(neighbours) != (2 if answer[cell] == PATH else 1):
            return False
    seen, stack = set(), [min(on_path)]
    while stack:
        cell = stack.pop()
        seen.add(cell)
        stack += [n for n in beside(task, cell) if n in on_path and n not in seen]
    return seen == on_path


def solve(text: str) -> tuple[Maze, np.ndarray, np.ndarray]:
    """A picture with its path, as task, puzzle and answer."""
    lines = text.splitlines()
    task = Maze(len(lines), len(lines[0]))
    return task, task.parse(text.replace("o", " ")), task.parse_answer(text)


@pytest.mark.parametrize(
    "written",
    [
        ROOM,
        "\n" + ROOM + "\n",
        ROOM.replace("\n", "\r\n"),
        ROOM.replace("\n", ""),
        [["# SGo".index(c) for c in line] for line in ROOM.splitlines()],
    ],
    ids=["lines", "blank lines around", "windows", "flat", "grid"],
)
def test_reads_text_and_grids(written):
    task = Maze(5, 5)
    tokens = task.parse(written)
    assert tokens[:5].tolist() == [START, FREE, FREE, FREE, WALL]
    assert (tokens == Maze(5, 5).parse(ROOM)).all()
    back = task.format(tokens, like=written)
    assert back == (written if isinstance(written, list) else written.strip("\r\n").replace("\r", ""))


@given(mazes())
def test_what_is_read_is_written_back(maze):
    task, tokens = maze
    flat = "".join("?# SGo"[token] for token in tokens)
    for form in (flat, task.draw(tokens), (tokens.reshape(task.rows, task.columns).astype(int) - 1).tolist()):
        assert (task.parse(form) == tokens).all()
        assert task.format(tokens, like=form) == form


def test_the_usual_maze_has_30_rows_and_columns():
    assert task_from({"kind": "maze", "shape": [30, 30]}).describe() == Maze().describe()
    assert (Maze().seq_len, Maze().vocab_size) == (900, 6)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (1, 7), (4, 5), (5, 4), (7, 7), (8, 3), (30, 30)])
def test_every_shape_has_an_example(shape):
    task = Maze(*shape)
    ((puzzle, answer),) = task.examples()
    verdict = task.check(task.parse(puzzle), task.parse_answer(answer))
    assert (verdict.valid, verdict.optimal) == (True, True)


@pytest.mark.parametrize(
    ("puzzle", "detail", "pointer"),
    [
        ("S  G", "expected 2 lines of 3, or 6 characters; got 4 characters", ""),
        ("S G\n   \n   ", "expected 2 lines of 3, or 6 characters; got 3 lines", ""),
        ("S G\n  ", "row 2 has 2 characters, expected 3", "/4"),
        ("S G\n .#", "row 2, column 2 is '.'; expected one of '# SGo'", "/5"),
        ("S G .#", "row 2, column 2 is '.'; expected one of '# SGo'", "/4"),
        ("SoG\n   ", "row 1, column 2 is 'o', the path, which belongs to the answer and not to the puzzle", "/1"),
        ("  G\n   ", "the maze has no start 'S'", ""),
        ("S  \n   ", "the maze has no goal 'G'", ""),
        (
            "S G\n  S",
            "the maze has more than one start 'S': at row 1, column 1 and at row 2, column 3",
            "/6",
        ),
        ("S#G\n # ", "no way leads from S to G", ""),
        ([[2, 1, 3]], "expected 2 rows, got 1", ""),
        ([[2, 1, 3], [1, 5, 0]], "row 2, column 2: expected a whole number from 0 to 4, got 5", "/1/1"),
        (
            [[2, 1, 3], [1, 1, 3]],
            "the maze has more than one goal 'G': at row 1, column 3 and at row 2, column 3",
            "/1/2",
        ),
    ],
)
def test_bad_mazes_are_named_exactly(puzzle, detail, pointer):
    with pytest.raises(PuzzleError) as raised:
        Maze(2, 3).parse(puzzle)
    assert (raised.value.detail, raised.value.pointer) == (detail, pointer)


@pytest.mark.parametrize(
    "picture",
    ["SG", "So\n#G", "Soo#\n##oG", "Sooo#\n###o#\noooo#\no####\nooooG", "ooo\no#o\nS#G"],
)
def test_a_path_is_valid(picture):
    task, puzzle, answer = solve(picture)
    assert task.check(puzzle, answer).valid is True
    assert task.check_many(puzzle[None], answer[None]).tolist() == [True]


@pytest.mark.parametrize(
    ("picture", "violation"),
    [
        ("S G", "row 1, column 1: the path ends here and not at G"),
        ("So  G", "row 1, column 2: the path ends here and not at G"),
        ("SoG\n o ", "row 1, column 2: the path forks or passes beside itself"),
        ("SoG\noo ", "row 1, column 1: the path forks or passes beside itself"),
        ("SooG\n    \n  o ", "row 3, column 3: a mark that does not belong to the path"),
        ("SoGoo", "row 1, column 5: the path ends here and not at G"),
        ("SooG\n    \noo  \noo  ", "row 3, column 1: a mark that does not belong to the path"),
        ("Soo \n  oG\n ooo", "row 2, column 3: the path forks or passes beside itself"),
    ],
    ids=["none", "gap", "stray beside", "fork at S", "stray apart", "past G", "ring apart", "loop"],
)
def test_what_is_not_one_path_is_invalid_and_named(picture, violation):
    task, puzzle, answer = solve(picture)
    verdict = task.check(puzzle, answer)
    assert (verdict.valid, verdict.optimal) == (False, False)
    assert verdict.violations == (violation,)
    assert task.check_many(puzzle[None], answer[None]).tolist() == [False]


def test_a_path_does_not_go_round_the_edge():
    task = Maze(3, 3)
    puzzle = task.parse("  S\nG##\n   ")
    answer = task.parse_answer("  S\nG##\n   ")
    assert task.check(puzzle, answer).violations == ("row 1, column 3: the path ends here and not at G",)


def test_the_maze_itself_may_not_be_changed():
    task = Maze(1, 5)
    puzzle = task.parse("S   G")
    for answer, changed in [("SoooS", "row 1, column 5"), ("Soo#G", "row 1, column 4"), ("ooooG", "row 1, column 1")]:
        tokens = task.parse_answer(answer)
        assert task.check(puzzle, tokens).violations[0] == f"{changed}: the maze itself was changed"
        assert not task.check_many(puzzle[None], tokens[None]).any()
    big = Maze(6, 6)
    walls = big.parse("S" + " " * 34 + "G")
    assert "26 more cells of the maze changed" in big.check(walls, np.full(36, WALL, dtype=np.uint8)).violations


def test_a_detour_is_valid_and_not_optimal():
    task, puzzle, straight = solve("Sooo\n # o\n   G")
    around = task.parse_answer("S   \no#  \noooG")
    detour = solve("oooo \no  o \nS  oG")
    assert task.check(puzzle, straight).optimal is True
    assert task.check(puzzle, around).optimal is True
    verdict = detour[0].check(*detour[1:])
    assert (verdict.valid, verdict.optimal) == (True, False)


@given(mazes(), seeds)
def test_every_shortest_path_is_valid_and_optimal(maze, seed):
    task, puzzle = maze
    path = shortest_path(task, puzzle, np.random.default_rng(seed))
    verdict = task.check(puzzle, drawn(puzzle, path))
    assert (verdict.valid, verdict.optimal) == (True, True)
    assert task.shortest(puzzle) == len(path) - 1


@given(mazes(), seeds, st.integers(0, 3))
def test_both_checkers_agree_with_the_definition(maze, seed, errors):
    task, puzzle = maze
    rng = np.random.default_rng(seed)
    answer = drawn(puzzle, shortest_path(task, puzzle, rng))
    answer[rng.integers(0, task.seq_len, errors)] = rng.choice([PATH, FREE, PATH, WALL], errors)
    noise = np.where((puzzle == FREE) & (rng.random(task.seq_len) < 0.5), PATH, puzzle).astype(np.uint8)
    expected = [is_path(task, puzzle, candidate) for candidate in (answer, noise)]
    assert [task.check(puzzle, candidate).valid for candidate in (answer, noise)] == expected
    assert task.check_many(np.stack([puzzle, puzzle]), np.stack([answer, noise])).tolist() == expected


@given(mazes(), seeds)
def test_a_symmetry_keeps_a_path_a_path_and_its_inverse_undoes_it(maze, seed):
    task, puzzle = maze
    rng = np.random.default_rng(seed)
    answer = drawn(puzzle, shortest_path(task, puzzle, rng))
    symmetry = task.random_symmetry(rng)
    moved_puzzle, moved_answer = symmetry.apply(puzzle), symmetry.apply(answer)
    assert task.check(moved_puzzle, moved_answer) == task.check(puzzle, answer)
    assert (symmetry.inverse().apply(moved_answer) == answer).all()


@pytest.mark.parametrize(("shape", "number"), [((6, 6), 8), ((4, 6), 4)])
def test_there_are_eight_symmetries_of_a_square_and_four_of_another_shape(shape, number):
    task = Maze(*shape)
    rng = np.random.default_rng(0)
    drawn_symmetries = {symmetry.name: symmetry for symmetry in (task.random_symmetry(rng) for _ in range(200))}
    assert len(drawn_symmetries) == number
    assert len({symmetry.cells.tobytes() for symmetry in drawn_symmetries.values()}) == number
