from training.data.pool import EASY_SHARE, Pool


def cells_to_find(pool, step, draws=200):
    return [int((p != a).sum()) for p, a in (pool.draw(pool.rng(step, row), step) for row in range(draws))]


def test_easy_puzzles_come_first_and_all_of_them_in_the_end(pool):
    blanks = sorted((pool.sources[0].puzzles != pool.sources[0].answers).sum(axis=1))
    easing = Pool(pool.task, pool.sources, seed=5, easy_steps=100)
    easiest = blanks[int(EASY_SHARE * len(blanks))]
    assert max(cells_to_find(easing, 0)) <= easiest
    assert max(cells_to_find(easing, 100)) == blanks[-1]
    assert max(cells_to_find(pool, 0)) == blanks[-1], "without easy_steps everything is drawn at once"
