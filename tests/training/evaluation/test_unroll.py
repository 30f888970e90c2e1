"""One pass without halting holds what any way to halt would have answered."""

import numpy as np
import pytest
import torch

from model.act import halts
from model.config import HRMConfig
from model.hrm import HRM
from model.tasks import get_task
from tests.training.conftest import TINY_MODEL, few_sudokus
from training.evaluation.unroll import at, unroll

SUDOKU = get_task("sudoku")


@pytest.fixture
def model():
    """Random weights whose q-head halts after one to six segments, depending on the puzzle."""
    torch.manual_seed(3)
    network = HRM(HRMConfig(vocab_size=11, seq_len=81, **TINY_MODEL))
    with torch.no_grad():
        network.q_head.bias.copy_(torch.tensor([-0.5, 0.0]))
        network.q_head.weight.normal_(std=0.5)
    return network.requires_grad_(False)


def act(model, puzzle, limit):
    """One puzzle under ACT, segment by segment: what it answers and how many segments it takes."""
    tokens = torch.from_numpy(puzzle.astype(np.int64))[None]
    carry = model.initial_carry(1)
    for segment in range(1, limit + 1):
        carry, output = model.segment(carry, tokens)
        count, most = torch.tensor([segment]), torch.tensor([limit])
        if halts(output.q_halt, output.q_continue, count, torch.ones_like(count), most, model.config.halt_rule):
            return output.logits[0].argmax(-1).numpy(), segment
    raise AssertionError


@pytest.mark.parametrize("limit", [1, 3, 6])
def test_act_is_read_off_a_pass_that_does_not_halt(model, limit):
    puzzles, answers = few_sudokus(40)
    said = unroll(model, SUDOKU, puzzles, answers, limit=limit, segments=8, batch_size=16)
    alone = [act(model, puzzle, limit) for puzzle in puzzles]
    assert said.halts().tolist() == [segments for _, segments in alone]
    assert np.array_equal(said.act_answers, np.stack([answer for answer, _ in alone]))
    if limit == 6:
        assert len(set(said.halts().tolist())) > 2, "the puzzles differ"
        assert said.halts(3).tolist() == [act(model, puzzle, 3)[1] for puzzle in puzzles]


def test_every_segment_is_judged(model):
    """Against answers that the network itself gives after four segments."""
    puzzles, _ = few_sudokus(20)
    own = unroll(model, None, puzzles, puzzles, limit=4).full_answers
    said = unroll(model, SUDOKU, puzzles, own, limit=2, segments=6, batch_size=7)
    assert said.exact.shape == said.cells.shape == said.q_halt.shape == (20, 6)
    assert said.exact[:, 3].all()
    assert (said.cells[:, 3] == 1).all()
    assert not said.exact[:, 0].all()
    assert np.array_equal(said.exact, said.cells == 1)
    assert (at(said.cells, np.full(20, 4)) == 1).all()


def test_padding_is_not_graded(model):
    puzzles, answers = few_sudokus(6)
    said = unroll(model, None, puzzles, answers).full_answers
    partly = np.where(said == answers, answers, np.uint8(0))
    assert unroll(model, None, puzzles, partly).exact[:, -1].tolist() == (partly > 0).any(axis=1).tolist()


def test_the_checker_has_the_word_on_valid_answers():
    """A network that copies what it is shown answers solved puzzles rightly, and those with a wrong digit not."""
    torch.manual_seed(0)
    network = HRM(HRMConfig(vocab_size=11, seq_len=81, **(TINY_MODEL | {"hidden_size": 32}))).requires_grad_(False)
    _, answers = few_sudokus(6)
    shown = answers.copy()
    shown[3:, 0] = np.where(shown[3:, 0] == 2, 3, 2)

    def copy(z_H):
        logits = torch.nn.functional.one_hot(torch.from_numpy(shown.astype(np.int64)), 11).float()
        return network_read(z_H)._replace(logits=logits)

    network_read, network.read = network.read, copy
    said = unroll(network, SUDOKU, shown, answers, segments=3)
    assert said.valid.tolist() == [[True] * 4] * 3 + [[False] * 4] * 3
