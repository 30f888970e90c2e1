"""The canaries of an imported checkpoint: its own words, which damaged weights do not say."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.canary import ACCURACY
from model.checkpoint import Canary, CheckpointError, CheckpointInfo
from model.exchange import Reading, import_upstream
from model.hrm import HRM
from model.registry import Registry
from model.weights import load_model
from service.engine.load import require_canaries
from service.engine.torch_runner import TorchRunner
from tests.model.upstream_lab import random_network, write_run


def decided(**sizes: int) -> HRM:
    """A network that is as sure of its answers as a trained one: they hang on the cell's own token."""
    network = random_network(vocab_size=11, **sizes)
    for level in (network.H_level, network.L_level):
        for parameter in level.parameters():
            parameter.mul_(0.05)
    network.lm_head.weight.copy_(network.embed_tokens.embedding_weight.roll(3, dims=0))
    return network


def imported(tmp_path: Path, network: HRM, kind: str = "sudoku") -> CheckpointInfo:
    return import_upstream(Registry([tmp_path / "registry"]), write_run(tmp_path / "run", network), Reading(kind))


def ask(info: CheckpointInfo, dtype: torch.dtype) -> None:
    runner = TorchRunner(load_model(info, torch.device("cpu"), dtype), 4, dtype)
    require_canaries(info, runner)


def test_they_are_answered_alike_in_both_precisions(tmp_path: Path) -> None:
    info = imported(tmp_path, decided())
    assert info.canary_accuracy == ACCURACY
    assert len(info.canaries()) >= 2
    for dtype in (torch.float32, torch.bfloat16):
        ask(info, dtype)


@pytest.mark.parametrize("damaged", ["lm_head.weight", "embed_tokens.embedding_weight"])
def test_weights_that_were_mixed_up_fail_them(tmp_path: Path, damaged: str) -> None:
    info = imported(tmp_path, decided())
    weights = load_file(info.path / "model.safetensors")
    save_file(weights | {damaged: weights[damaged].flip(0).contiguous()}, info.path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"0 of . canary puzzles came out exact"):
        ask(info, torch.float32)


def test_where_no_answer_is_firm_they_only_prove_that_it_runs(tmp_path: Path) -> None:
    network = random_network()
    alike = torch.randn(32) + 1e-3 * torch.randn(11, 32)  # what tells the tokens apart is lost in bf16
    network.lm_head.weight.copy_(alike)
    info = imported(tmp_path, network)
    assert info.canary_accuracy == 0.0
    assert info.canaries()
    ask(info, torch.bfloat16)


def test_a_puzzle_with_an_identifier_is_asked_with_it(tmp_path: Path) -> None:
    network = decided(puzzle_emb_ndim=32, num_puzzles=3)
    run = write_run(tmp_path / "run", network)
    (run / "identifiers.json").write_text('["<blank>", "first", "second"]')
    info = import_upstream(Registry([tmp_path / "registry"]), run, Reading("sudoku"))
    assert {canary.puzzle_id for canary in info.canaries()} == {"first", "second"}
    ask(info, torch.float32)


def test_a_canary_that_cannot_be_asked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = imported(tmp_path, random_network())
    puzzle = info.canaries()[0].puzzle
    monkeypatch.setattr(CheckpointInfo, "canaries", lambda _: [Canary(puzzle, puzzle, puzzle_id="nobody")])
    with pytest.raises(CheckpointError, match=r"a canary cannot be asked: .* knows no puzzle identifiers"):
        ask(info, torch.float32)
