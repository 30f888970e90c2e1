"""What a run that goes on may do with its data: no puzzle that it has trained on is held out."""

from dataclasses import replace

import pytest

from tests.training.conftest import few_sudokus
from training.continuation import trained_on
from training.data.pool import Source
from training.errors import RunError
from training.fit import split_sources

A, B, A_WITH_MORE = (
    Source(name, *few_sudokus(count), 1.0, sha256)
    for name, count, sha256 in (("a", 80, "1"), ("b", 32, "2"), ("a", 90, "3"))
)
A_WITH_TESTS = replace(A, heldout=B)


def stages(*each):
    """A run that went on with one stage's (sources, data.heldout) after the other's."""
    cards = []
    for sources, heldout in each:
        trained, _ = split_sources(sources, heldout)
        cards = trained_on("runs/mine", cards, trained)
    return cards


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (([A], 20), ([A], 20)),
        (([A], 20), ([A], 10)),
        (([A], 20), ([A, B], 20)),
        (([A, B], 20), ([replace(B, weight=3.0), A], 20)),
        (([A, B], 20), ([A], 10)),
        (([A], 20), ([A_WITH_TESTS], 20)),
        (([A_WITH_TESTS], 10), ([A_WITH_TESTS], 20)),
    ],
    ids=["same", "fewer held out", "one more", "another weight", "one less", "tests instead", "more tests"],
)
def test_it_may_train_on_more_of_what_it_held_out(first, then):
    assert {card["name"] for card in stages(first, then)} == {
        source.name for sources, _ in (first, then) for source in sources
    }


@pytest.mark.parametrize(
    ("first", "then", "known"),
    [
        (([A], 20), ([A], 30), "10 of the puzzles of a"),
        (([A, B], 20), ([A], 20), "10 of the puzzles of a"),
        (([A_WITH_TESTS], 20), ([A], 20), "20 of the puzzles of a"),
        (([A], 20), ([A_WITH_MORE], 20), "a as it was, and might know"),
        (([A, B], 20), ([A, replace(A_WITH_MORE, name="c")], 20), "b as it was, and might .* of c as it is now"),
    ],
    ids=["more held out", "one source less", "no tests any more", "other rows", "replaced"],
)  # fmt: skip
def test_what_it_knows_is_not_held_out(first, then, known):
    with pytest.raises(RunError, match=rf"^runs/mine has trained on {known}"):
        stages(first, then)


def test_what_it_once_trained_on_is_remembered():
    with pytest.raises(RunError, match="has trained on 8 of the puzzles of b"):
        stages(([A_WITH_TESTS, B], 4), ([A_WITH_TESTS], 4), ([A_WITH_TESTS, B], 20))
