"""The shipped checkpoint gives the same answers by every backend."""

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
    info = Registry([SHIPPED]).current("sudoku")
    if info is None:
        pytest.skip("no checkpoint ships yet")
    queue = works(info, canary_puzzles(info, PUZZLES))
    ended = []
    for kind in (TorchRunner, OnnxRunner):
        runner = kind(load_model(info, torch.device("cpu"), torch.float32), 64, torch.float32)
        _, counted = run_engine(Table(info, runner), queue)
        ended.append(counted.answers)
        runner.close()
    differing = [name for name, tokens in ended[0].items() if not np.array_equal(tokens, ended[1][name])]
    assert not differing
