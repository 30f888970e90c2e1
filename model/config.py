"""Every number that shapes the network, in one frozen and validated object."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

Mixer = Literal["attention", "mlp"]
MixerNorm = Literal["hidden", "positions"]
Positions = Literal["rope", "learned", "none"]
HaltRule = Literal["halt_over_continue", "halt_over_zero"]
LossKind = Literal["stablemax", "softmax"]

# A checkpoint's config is read before its weights: a number beyond these is refused before memory is taken.
MAX_HIDDEN = 8192
MAX_LAYERS = 64
MAX_CYCLES = 64
MAX_SEQ_LEN = 16384
MAX_VOCAB = 65536
MAX_PUZZLES = 1 << 27


class ConfigError(ValueError):
    """A configuration value is missing, of the wrong type or out of range; the message names it."""


@dataclass(frozen=True, slots=True)
class HRMConfig:
    """The architecture of one HRM (arXiv 2506.21734, section 2).

    The defaults are the paper's size. `seq_len` counts the puzzle's cells, without the prefix that a
    puzzle embedding adds. `mixer="mlp"` mixes positions with a SwiGLU across them instead of attention
    (arXiv 2510.04871, section 4.5); `mixer_norm` says over what its result is normalised: over the
    features of each position, or, as that paper's code does, over the positions of each feature.
    `shared_levels` runs one network as both modules (the same paper, section 4.3). `halt_rule` is what
    ends a puzzle: q_halt above q_continue, or q_halt above zero.
    """

    vocab_size: int
    seq_len: int
    hidden_size: int = 512
    num_heads: int = 8
    H_layers: int = 4
    L_layers: int = 4
    H_cycles: int = 2
    L_cycles: int = 2
    expansion: float = 4.0
    inner_multiple: int = 256
    mixer: Mixer = "attention"
    mixer_norm: MixerNorm = "hidden"
    positions: Positions = "rope"
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    puzzle_emb_ndim: int = 0
    puzzle_emb_len: int | None = None
    num_puzzles: int = 1
    shared_levels: bool = False
    halt_rule: HaltRule = "halt_over_continue"
    halt_max_segments: int = 16
    loss: LossKind = "stablemax"

    def __post_init__(self) -> None:
        limits: dict[str, tuple[int, int]] = {
            "vocab_size": (2, MAX_VOCAB),
            "seq_len": (1, MAX_SEQ_LEN),
            "hidden_size": (2, MAX_HIDDEN),
            "num_heads": (1, MAX_HIDDEN),
            "H_layers": (1, MAX_LAYERS),
            "L_layers": (1, MAX_LAYERS),
            "H_cycles": (1, MAX_CYCLES),
            "L_cycles": (1, MAX_CYCLES),
            "inner_multiple": (1, MAX_HIDDEN),
            "puzzle_emb_ndim": (0, MAX_HIDDEN * 16),
            "num_puzzles": (1, MAX_PUZZLES),
            "halt_max_segments": (1, 4096),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
        length = self.puzzle_emb_len
        if length is not None and not (type(length) is int and 0 <= length <= 256):
            raise ConfigError(f"puzzle_emb_len must be from 0 to 256, not {length!r}")
        if not 0 < self.expansion <= 64:
            raise ConfigError(f"expansion must be above 0 and at most 64, not {self.expansion!r}")
        if not (self.rope_theta > 0 and self.norm_eps > 0):
            raise ConfigError("rope_theta and norm_eps must be above 0")
        hints = get_type_hints(type(self))
        for name in ("mixer", "mixer_norm", "positions", "halt_rule", "loss"):
            allowed = get_args(hints[name])
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if self.mixer_norm == "positions" and self.mixer != "mlp":
            raise ConfigError("mixer_norm 'positions' needs mixer 'mlp'")
        if self.hidden_size % (2 * self.num_heads):
            raise ConfigError(
                f"hidden_size {self.hidden_size} must split into num_heads {self.num_heads} heads of even size"
            )
        if self.prefix_len * self.hidden_size < self.puzzle_emb_ndim:
            raise ConfigError(f"puzzle_emb_len {self.puzzle_emb_len} is too short for puzzle_emb_ndim")

    @property
    def prefix_len(self) -> int:
        """Positions in front of the puzzle that hold its embedding, zero padded."""
        if not self.puzzle_emb_ndim:
            return 0
        return self.puzzle_emb_len or math.ceil(self.puzzle_emb_ndim / self.hidden_size)

    @property
    def total_len(self) -> int:
        """Positions of the state: prefix and puzzle."""
        return self.prefix_len + self.seq_len

    def inner_size(self, width: int) -> int:
        """SwiGLU's inner width over `width` features: two thirds of the expansion, rounded up."""
        return math.ceil(round(self.expansion * width * 2 / 3) / self.inner_multiple) * self.inner_multiple

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HRMConfig:
        """Read a configuration; raises ConfigError that names an unknown, missing or impossible value."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"unknown architecture field {unknown[0]!r}")
        if missing := sorted({"vocab_size", "seq_len"} - set(values)):
            raise ConfigError(f"architecture field {missing[0]!r} is missing")
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"architecture: {error}") from None
