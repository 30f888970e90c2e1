"""What a network is asked."""

from dataclasses import replace

import numpy as np
import pytest

from training.evaluation.questions import graded


@pytest.mark.parametrize("separator", ["_", "|||"])
def test_a_sample_of_arc_takes_all_images_of_a_task_which_vote_together(separator):
    names = [
        separator.join((task, *image)) for task in "abcd" for image in ((), ("t1", "0123456789"), ("t2", "0213456789"))
    ]
    tokens = np.zeros((len(names), 900), dtype=np.uint8)
    questions = replace(graded(tokens, tokens, np.array(names)), names=np.array(names))
    sampled = questions.sample(2).names
    assert len(sampled) == 6
    assert len({name[0] for name in sampled}) == 2
