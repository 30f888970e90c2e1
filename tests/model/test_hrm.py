import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from model.config import HRMConfig
from model.hrm import HRM

GOLDEN = os.environ.get("HRM_GOLDEN_DIR")
TOKENS = torch.randint(1, 11, (3, 81), generator=torch.Generator().manual_seed(1))


def test_papers_size_has_exactly_its_parameters():
    with torch.device("meta"):
        network = HRM(HRMConfig(vocab_size=11, seq_len=81))
    assert sum(p.numel() for p in network.parameters()) == 27_275_266


@pytest.mark.parametrize("mixer", ["attention", "mlp"])
@pytest.mark.parametrize("positions", ["rope", "learned"])
@pytest.mark.parametrize("puzzle_emb_ndim", [0, 40])
def test_segment_gives_logits_and_values_for_every_variant(tiny_config, mixer, positions, puzzle_emb_ndim):
    config = dataclasses.replace(
        tiny_config, mixer=mixer, positions=positions, puzzle_emb_ndim=puzzle_emb_ndim, num_puzzles=4
    )
    network = HRM(config)
    carry, output = network.segment(network.initial_carry(3), TOKENS, torch.tensor([0, 1, 3]))
    assert carry.z_H.shape == carry.z_L.shape == (3, config.total_len, 32)
    assert output.logits.shape == (3, 81, 11)
    assert output.q_halt.shape == output.q_continue.shape == (3,)
    assert output.q_halt.dtype == torch.float32


def test_halting_starts_out_improbable(tiny):
    _, output = tiny.segment(tiny.initial_carry(3), TOKENS)
    assert torch.equal(output.q_halt, torch.full((3,), -5.0))


def test_shared_levels_are_one_network(tiny_config):
    network = HRM(dataclasses.replace(tiny_config, shared_levels=True))
    assert not any(name.startswith("H_level") for name, _ in network.named_parameters())
    network.segment(network.initial_carry(3), TOKENS)


def test_both_gradients_see_the_same_forward_pass(tiny_config):
    network = HRM(dataclasses.replace(tiny_config, H_cycles=3, L_cycles=2))
    one, all_ = (network.segment(network.initial_carry(3), TOKENS, gradient=g)[1] for g in ("last_step", "last_cycle"))
    assert torch.equal(one.logits, all_.logits)


def test_a_segment_is_its_module_calls_one_by_one(tiny_config):
    network = HRM(dataclasses.replace(tiny_config, H_cycles=2, L_cycles=3))
    assert network.schedule == ("L", "L", "L", "H") * 2
    carry = network.initial_carry(3)
    expected, output = network.segment(carry, TOKENS)
    embedding = network.embed(TOKENS, network.puzzle_vectors(torch.zeros(3, dtype=torch.int64)))
    for module in network.schedule:
        before, carry = carry, network.step(module, carry, embedding)
        assert torch.equal(before.z_H, carry.z_H) == (module == "L"), "a call changes its own state alone"
        assert torch.equal(before.z_L, carry.z_L) == (module == "H")
    assert torch.equal(carry.z_H, expected.z_H)
    assert torch.equal(network.read(carry.z_H).logits, output.logits)


def saved_bytes(config: HRMConfig, gradient: str) -> int:
    """What autograd keeps for the backward pass of one segment."""
    network = HRM(config)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        network.segment(network.initial_carry(3), TOKENS, gradient=gradient)
    return sum(kept.values())


def test_memory_of_the_one_step_gradient_does_not_grow_with_cycles_or_steps(tiny_config):
    sizes = [
        saved_bytes(dataclasses.replace(tiny_config, H_cycles=n, L_cycles=t), "last_step")
        for n, t in [(1, 1), (2, 2), (6, 2), (2, 6)]
    ]
    assert max(sizes) <= 1.02 * min(sizes)
    more_steps = saved_bytes(dataclasses.replace(tiny_config, L_cycles=6), "last_cycle")
    assert more_steps > 2 * sizes[0], "the gradient through the whole last cycle does grow with T"


def test_no_gradient_crosses_segments(tiny):
    first, _ = tiny.segment(tiny.initial_carry(3), TOKENS)
    assert not first.z_H.requires_grad
    assert not first.z_L.requires_grad
    entry = first._replace(z_H=first.z_H.clone().requires_grad_(), z_L=first.z_L.clone().requires_grad_())
    _, output = tiny.segment(entry, TOKENS)
    output.logits.sum().backward()
    assert entry.z_H.grad is None, "even within a segment, only the last steps are seen"
    assert entry.z_L.grad is None
    assert all(p.grad is not None for p in tiny.L_level.parameters())
    assert all(p.grad is not None for p in tiny.H_level.parameters())


@pytest.mark.skipif(GOLDEN is None, reason="HRM_GOLDEN_DIR names no folder with upstream's checkpoint")
def test_agrees_with_upstreams_network():
    golden = Path(str(GOLDEN)) / "upstream-sudoku-rope"
    expected = np.load(golden / "expected.npz")
    state = torch.load(golden / "step_1000", weights_only=True, map_location="cpu")
    network = HRM(
        HRMConfig(vocab_size=11, seq_len=81, hidden_size=64, num_heads=4, H_layers=2, L_layers=2, puzzle_emb_ndim=64)
    )
    network.load_state_dict({name.removeprefix("_orig_mod.model.inner."): value for name, value in state.items()})
    inputs, puzzle_ids = (torch.from_numpy(expected[name]).long() for name in ("inputs", "puzzle_identifiers"))
    carry = network.initial_carry(len(inputs))
    with torch.inference_mode():
        for segment in range(len(expected["logits"])):
            carry, output = network.segment(carry, inputs, puzzle_ids)
            for name in ("logits", "q_halt", "q_continue"):
                np.testing.assert_allclose(getattr(output, name).numpy(), expected[name][segment], atol=1e-4, rtol=0)
