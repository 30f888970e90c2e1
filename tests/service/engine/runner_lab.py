"""Runners of every backend over one small network."""

import numpy as np
import torch

from model.config import HRMConfig
from model.hrm import HRM
from service.engine.onnx_runner import OnnxRunner
from service.engine.runner import Admission
from service.engine.torch_runner import TorchRunner

SIZE = 8
PUZZLES = np.random.default_rng(0).integers(1, 11, (64, 81)).astype(np.uint8)


def network(mixer="mlp", prefix=0, seed=3, **more):
    torch.manual_seed(seed)
    model = HRM(
        HRMConfig(
            vocab_size=11, seq_len=81, hidden_size=32, num_heads=2, H_layers=1, L_layers=1, expansion=2.0,
            inner_multiple=8, mixer=mixer, puzzle_emb_ndim=prefix, num_puzzles=3, **more,
        )
    )  # fmt: skip
    torch.nn.init.normal_(model.q_head.weight, std=0.5)
    torch.nn.init.zeros_(model.q_head.bias)
    return model.requires_grad_(False).eval()


def torch_runner(model, **options):
    return TorchRunner(model, SIZE, torch.float32, **options)


def compiled_runner(model, **options):
    return TorchRunner(model, SIZE, torch.float32, compiled=True, **options)


def onnx_runner(model, **options):
    return OnnxRunner(model, SIZE, torch.float32, **options)


def admission(slots, puzzles, low=1, high=6):
    k = len(slots)
    return Admission(
        np.array(slots), PUZZLES[puzzles], np.ones((k, 81), bool), np.zeros(k, np.int64), np.full(k, low),
        np.full(k, high),
    )  # fmt: skip


def run(runner, slots):
    runner.launch(np.array(slots))
    return runner.collect()
