import numpy as np

from tests.training.conftest import few_pool
from training.data.pool import EASY_SHARE, Pool


def cells_to_find(pool, step, draws=200):
    return [int((p != a).sum()) for p, a, _ in (pool.draw(pool.rng(step, row), step) for row in range(draws))]


def test_easy_puzzles_come_first_and_all_of_them_in_the_end(pool):
    blanks = sorted((pool.sources[0].puzzles != pool.sources[0].answers).sum(axis=1))
    easing = Pool(pool.task, pool.sources, seed=5, easy_steps=100)
    easiest = blanks[int(EASY_SHARE * len(blanks))]
    assert max(cells_to_find(easing, 0)) <= easiest
    assert max(cells_to_find(easing, 100)) == blanks[-1]
    assert max(cells_to_find(pool, 0)) == blanks[-1], "without easy_steps everything is drawn at once"


def test_puzzles_with_identifiers_are_shown_as_they_are():
    pool = few_pool(np.arange(32, dtype=np.int32))
    source = pool.sources[0]
    assert pool.num_puzzles == 32
    for row in range(20):
        puzzle, answer, puzzle_id = pool.draw(pool.rng(3, row), 3)
        assert np.array_equal(puzzle, source.puzzles[puzzle_id])
        assert np.array_equal(answer, source.answers[puzzle_id])
