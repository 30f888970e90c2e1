"""A user's own puzzle: a description, a CSV, and no code."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks import PuzzleError, task_from

LATIN = {
    "kind": "grid",
    "name": "latin",
    "shape": [3, 4],
    "alphabet": ".1234",
    "blank": ".",
    "symmetries": ["dihedral", "symbols"],
}
seeds = st.integers(0, 2**32 - 1)

alphabets = (
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=2, max_size=40)
    .map(lambda text: "".join(dict.fromkeys(text)))
    .filter(lambda text: len(text) >= 2 and text.isprintable())
)


def test_reads_and_writes_by_its_alphabet():
    task = task_from(LATIN)
    assert (task.name, task.seq_len, task.vocab_size, task.has_checker) == ("latin", 12, 6, False)
    lines = "1..4\n.3..\n4.1."
    tokens = task.parse(lines)
    assert tokens.tolist() == [2, 1, 1, 5, 1, 4, 1, 1, 5, 1, 2, 1]
    assert task.format(tokens, like=lines) == task.draw(tokens) == lines
    assert task.format(tokens, like="1..4.3..4.1.") == "1..4.3..4.1."
    assert task.format(tokens, like=[[0]]) == [[1, 0, 0, 4], [0, 3, 0, 0], [4, 0, 1, 0]]


@given(alphabet=alphabets, rows=st.integers(1, 6), columns=st.integers(2, 6), seed=seeds)
def test_what_is_read_is_written_back(alphabet, rows, columns, seed):
    task = task_from({"kind": "grid", "name": "any", "shape": [rows, columns], "alphabet": alphabet})
    codes = np.random.default_rng(seed).integers(0, len(alphabet), (rows, columns))
    lines = ["".join(alphabet[code] for code in row) for row in codes]
    for form in ("\n".join(lines), "".join(lines), codes.tolist()):
        tokens = task.parse(form)
        assert (tokens == codes.ravel() + 1).all()
        assert task.format(tokens, like=form) == form


def test_an_answer_may_not_hold_the_blank():
    with pytest.raises(PuzzleError, match="the answer leaves row 2, column 1 blank") as raised:
        task_from(LATIN).parse_answer("1234\n.143\n4321")
    assert raised.value.pointer == "/5"
    anything = task_from({key: value for key, value in LATIN.items() if key != "blank"})
    assert anything.parse_answer("1234\n.143\n4321")[4] == 1


def test_what_a_network_leaves_out_is_written_as_the_blank():
    assert task_from(LATIN).format(np.zeros(12, dtype=np.uint8), like="") == "." * 12


def test_nothing_is_said_about_an_answer():
    task = task_from(LATIN)
    tokens = task.parse("1234\n2143\n4321")
    assert task.check(tokens, tokens).valid is None
    assert task.examples() == []


@given(seeds)
def test_symmetries_are_those_of_the_description(seed):
    tokens = task_from(LATIN).parse("1..4\n.3..\n4.1.")

    def change(*symmetries: str) -> np.ndarray:
        symmetry = task_from(LATIN | {"symmetries": list(symmetries)}).random_symmetry(np.random.default_rng(seed))
        changed = symmetry.apply(tokens)
        assert (symmetry.inverse().apply(changed) == tokens).all()
        return changed

    assert (change() == tokens).all()
    assert sorted(change("dihedral")) == sorted(tokens)
    assert ((change("symbols") == 1) == (tokens == 1)).all()  # blanks stay blank and stay where they are
    assert (change("dihedral", "symbols") == 1).sum() == (tokens == 1).sum()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "../escape"}, "name is '../escape'; expected a letter or digit"),
        ({"name": 3}, "name is 3"),
        ({"shape": [0, 9]}, "shape 0 x 9; expected 2 to 4096 cells"),
        ({"shape": "9x9"}, "shape is '9x9'; expected [rows, columns]"),
        ({"alphabet": "1"}, "alphabet is '1'; expected text of 2 to 255 characters"),
        ({"alphabet": ["1", "2"]}, "expected text of 2 to 255 characters"),
        ({"alphabet": ".1221"}, "alphabet holds '2' twice"),
        ({"alphabet": ".12\n"}, "alphabet holds '\\n', which cannot be printed"),
        ({"alphabet": "".join(map(chr, range(0x4E00, 0x4F00)))}, "expected text of 2 to 255 characters"),
        ({"blank": "x"}, "blank is 'x'; expected one character of the alphabet"),
        ({"blank": ""}, "blank is ''"),
        ({"blank": 0}, "blank is 0"),
        ({"symmetries": ["rotate"]}, "symmetries is ['rotate']; expected a list of dihedral, symbols"),
        ({"symmetries": "dihedral"}, "symmetries is 'dihedral'; expected a list of dihedral, symbols"),
        ({"symmetries": [["dihedral"]]}, "expected a list of dihedral, symbols"),
        ({"checker": "sudoku"}, "unknown field 'checker'; known: name, shape, alphabet, blank, symmetries"),
    ],
)
def test_a_description_is_not_trusted(change, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        task_from(LATIN | change)


@pytest.mark.parametrize("missing", ["name", "shape", "alphabet"])
def test_a_description_says_what_is_needed(missing):
    with pytest.raises(ValueError, match=f"task description: {missing} is missing"):
        task_from({key: value for key, value in LATIN.items() if key != missing})
