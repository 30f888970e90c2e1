"""The shipped checkpoint solves the same puzzles by every backend."""

import numpy as np
import pytest
import torch

from benchmarks.common import canary_puzzles, works
from benchmarks.ways import run_engine
from model.registry import SHIPPED, Registry
from model.weights import load_model
from service.engine.onnx_runner import OnnxRunner
from service.engine.table import Table
from service.engine.torch_runner import TorchRunner

PUZZLES = 500


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_onnx_runtime_answers_as_torch_does():
    """What neither solves may differ: a state that wanders makes much of a rounding in 16 segments."""
    info = Registry([SHIPPED]).current("sudoku")
    if info is None:
        pytest.skip("no checkpoint ships yet")
    puzzles = canary_puzzles(info, PUZZLES)
    ended = []
    for kind in (TorchRunner, OnnxRunner):
        runner = kind(load_model(info, torch.device("cpu"), torch.float32), 64, torch.float32)
        _, counted = run_engine(Table(info, runner), works(info, puzzles))
        ended.append({outcome.work.id: outcome for outcome in counted.outcomes})
    by_torch, by_onnx = ended
    assert [by_onnx[name].segments for name in by_torch] == [outcome.segments for outcome in by_torch.values()]
    differing = [name for name, by in by_torch.items() if not np.array_equal(by.tokens, by_onnx[name].tokens)]
    solved = [
        name
        for name in differing
        if any(info.codec.check(puzzles[int(name)], by[name].tokens).valid for by in (by_torch, by_onnx))
    ]
    assert not solved
    assert len(differing) < PUZZLES // 20
