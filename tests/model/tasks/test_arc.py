"""ARC: grids on a canvas, as the published network was trained to see them, and their symmetries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks import PuzzleError, get_task
from model.tasks.arc import EOS, SIDE, ColourSymmetry, decode, encode
from model.tasks.vote import vote

ARC = get_task("arc")

seeds = st.integers(0, 2**32 - 1)
sides = st.one_of(st.integers(1, 4), st.integers(1, SIDE))


@st.composite
def grids(draw) -> np.ndarray:
    rows, columns = draw(sides), draw(sides)
    return np.random.default_rng(draw(seeds)).integers(0, 10, (rows, columns)).astype(np.uint8)


@st.composite
def symmetries(draw) -> ColourSymmetry:
    colours = [0, *draw(st.permutations(range(1, 10)))]
    return ColourSymmetry(draw(st.integers(0, 7)), np.array(colours, dtype=np.uint8))


def test_a_grid_is_bordered_by_eos_below_and_right_without_the_corner():
    canvas = ARC.parse([[0, 9, 1], [2, 3, 4]]).reshape(SIDE, SIDE)
    assert canvas[:4, :5].tolist() == [
        [2, 11, 3, 1, 0],
        [4, 5, 6, 1, 0],
        [1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert canvas.sum() == 2 + 11 + 3 + 4 + 5 + 6 + 5 * EOS
    assert (ARC.seq_len, ARC.vocab_size) == (900, 12)


def test_a_grid_that_fills_the_canvas_has_no_border():
    assert EOS not in encode(np.zeros((SIDE, SIDE), dtype=np.uint8))


@given(grids())
def test_what_is_encoded_is_decoded(grid):
    assert np.array_equal(decode(encode(grid)), grid)
    assert ARC.format(ARC.parse(grid.tolist()), like=[[0]]) == grid.tolist()
    text = "\n".join("".join(map(str, row)) for row in grid.tolist())
    assert ARC.format(ARC.parse_answer(text), like=text) == ARC.draw(encode(grid)) == text


@given(grids(), st.data())
def test_a_grid_may_lie_anywhere_on_the_canvas(grid, data):
    top, left = (data.draw(st.integers(0, SIDE - side)) for side in grid.shape)
    moved = encode(grid, (top, left)).reshape(SIDE, SIDE)
    at_origin = encode(grid).reshape(SIDE, SIDE)
    assert np.array_equal(moved[top:, left:], at_origin[: SIDE - top, : SIDE - left])
    assert not moved[:top].any()
    assert not moved[:, :left].any()


@pytest.mark.parametrize("offset", [(-1, 0), (0, 28)])
def test_a_grid_may_not_leave_the_canvas(offset):
    with pytest.raises(ValueError, match=r"a grid of 2 x 3 at .* does not fit on a canvas of 30 x 30"):
        encode(np.zeros((2, 3), dtype=np.uint8), offset)


def test_a_ragged_drawing_is_cropped_to_its_largest_rectangle():
    """Upstream's evaluation reads predictions in this way."""
    canvas = np.zeros((SIDE, SIDE), dtype=np.uint8)
    canvas[0, :5] = canvas[1, :4] = canvas[2, :1] = 7
    assert decode(canvas.ravel()).tolist() == [[5] * 4] * 2
    canvas[3, :30] = 7
    assert decode(canvas.ravel()).tolist() == [[5] * 4] * 2
    assert decode(np.full(900, EOS, dtype=np.uint8)).shape == (0, 0)
    assert ARC.format(np.zeros(900, dtype=np.uint8), like=[[0]]) == []
    assert ARC.format(np.zeros(900, dtype=np.uint8), like="0") == ""


@pytest.mark.parametrize(
    ("puzzle", "detail", "pointer"),
    [
        ([], "expected a grid of 1 to 30 rows and columns, got 0 rows of 0 cells", ""),
        ([[0]] * 31, "expected a grid of 1 to 30 rows and columns, got 31 rows of 1 cell", ""),
        ("0" * 31, "expected a grid of 1 to 30 rows and columns, got 1 row of 31 cells", ""),
        ([[0, 1], [2]], "row 2 has 1 cell, expected 2", "/1"),
        ([[0, 1], [2, 10]], "row 2, column 2: expected a whole number from 0 to 9, got 10", "/1/1"),
        ([[0, 1], [2, 1.0]], "row 2, column 2: expected a whole number from 0 to 9, got 1.0", "/1/1"),
        ("01\n2", "row 2 has 1 character, expected 2", "/3"),
        ("01\n2a", "row 2, column 2 is 'a'; expected one of '0123456789'", "/4"),
    ],
)
def test_bad_grids_are_named_exactly(puzzle, detail, pointer):
    with pytest.raises(PuzzleError) as raised:
        ARC.parse(puzzle)
    assert (raised.value.detail, raised.value.pointer) == (detail, pointer)


@given(grids(), symmetries())
def test_an_inverse_undoes_its_symmetry(grid, symmetry):
    assert np.array_equal(symmetry.inverse().change(symmetry.change(grid)), grid)
    tokens = encode(grid)
    changed = symmetry.apply(tokens)
    assert np.array_equal(decode(changed), symmetry.change(grid))
    assert np.array_equal(symmetry.inverse().apply(changed), tokens)


@pytest.mark.parametrize("turn", range(8))
def test_turns_are_numbered_as_upstream_numbers_them(turn):
    expected = ["abcd", "bdac", "dcba", "cadb", "badc", "cdab", "acbd", "dbca"]
    grid = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    changed = ColourSymmetry(turn, np.arange(10, dtype=np.uint8)).change(grid)
    assert "".join("?abcd"[colour] for colour in changed.ravel()) == expected[turn]


@given(symmetries())
def test_a_symmetry_is_known_by_upstreams_name(symmetry):
    again = ColourSymmetry.from_name(symmetry.name)
    assert (again.turn, again.colours.tolist()) == (symmetry.turn, symmetry.colours.tolist())
    assert ColourSymmetry(3, np.array([0, 1, 9, 2, 8, 3, 7, 4, 6, 5])).name == "t3_0192837465"


@pytest.mark.parametrize(
    "name", ["", "t8_0123456789", "t0_1023456789", "t0_0113456789", "t0_012345678", "t0_0123456789x"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="is not the name of a symmetry"):
        ColourSymmetry.from_name(name)


@given(grids(), st.lists(symmetries(), min_size=1, max_size=8))
def test_voting_is_right_on_perfect_predictions_under_every_symmetry(answer, looks):
    predictions = np.stack([encode(look.change(answer)) for look in looks])
    (winner,) = vote(predictions, looks, np.zeros(len(looks)))
    assert np.array_equal(decode(winner.answer), answer)
    assert winner.votes == len(looks)
