"""How many floating-point operations a segment of one puzzle is: its products, a multiply-add counted as two."""

from __future__ import annotations

from model.config import HRMConfig


def segment_flops(config: HRMConfig) -> int:
    """FLOP of a segment of one row, without norms and other work that no matrix unit does."""
    positions, hidden = config.total_len, config.hidden_size
    swiglu = 6 * hidden * config.inner_size(hidden) * positions
    if config.mixer == "attention":
        mixing = 8 * hidden * hidden * positions + 4 * positions * positions * hidden
    else:
        mixing = 6 * positions * config.inner_size(positions) * hidden
    H_calls, L_calls = config.H_cycles, config.H_cycles * config.L_cycles
    H_layers = config.L_layers if config.shared_levels else config.H_layers
    blocks = H_calls * H_layers + L_calls * config.L_layers
    return blocks * (swiglu + mixing) + 2 * hidden * config.vocab_size * config.seq_len
