import pytest

from training.alarms import SPAN, Alarms

HEALTHY = {"exact": 0.3, "segments": 15.0, "token_loss": 0.5, "continue_loss": 0.3, "cells": 0.8}


def watch(lines, max_segments=16, first_step=0):
    """Show the lines, 50 steps apart, to fresh alarms; returns what they say, with the line's number."""
    alarms = Alarms(max_segments, first_step)
    shown = ({"step": 50 * n, **HEALTHY, **line} for n, line in enumerate(lines, 1))
    return [(n, text) for n, line in enumerate(shown, 1) for text in alarms.look(line)]


def test_an_early_run_that_never_halts_and_solves_nothing_is_normal():
    """Everything runs to M_max, nothing is right yet, and the loss falls."""
    assert not watch({"exact": 0.0, "segments": 16.0, "token_loss": 2.0 * 0.99**n} for n in range(100))


def test_a_high_q_continue_loss_that_rises_as_puzzles_get_solved_is_normal():
    """So it was in a run of 8,000 steps on puzzles of 24 to 35 clues: 0.25 to 0.46, while 10 % became 60 %."""
    assert not watch({"exact": 0.1 + 0.005 * n, "continue_loss": 0.25 + 0.002 * n} for n in range(100))


def test_puzzles_that_end_right_but_never_early():
    said = watch([{"exact": 0.2, "segments": 16.0}] * 30 + [{"exact": 0.8, "segments": 16.0}] * 40)
    assert len(said) == 1, "once"
    assert 30 < said[0][0] < 30 + SPAN + 1
    assert "the q-head does not learn to halt" in said[0][1]


def test_q_continue_climbing_while_accuracy_falls():
    said = watch({"exact": 0.6 - 0.004 * n, "continue_loss": 0.12 * 1.02**n} for n in range(80))
    assert len(said) == 1
    assert "the q_continue loss climbs" in said[0][1]
    assert not watch({"exact": 0.6 - 0.004 * n, "continue_loss": 0.05 * 1.01**n} for n in range(80)), "below 0.15"


def test_a_loss_that_stands_still_with_nothing_solved():
    said = watch([{"exact": 0.0, "token_loss": 1.2, "cells": 0.55}] * (2 * SPAN + 1))
    assert [n for n, _ in said] == [2 * SPAN]
    assert "cell accuracy of 0.55" in said[0][1]


@pytest.mark.parametrize("line", [{"step": 0, "exact": None}, {"exact": 0.9, "segments": 16.0}])
def test_nothing_is_said_before_the_run_has_settled(line):
    assert not watch([line] * 40, first_step=50 * 40)
