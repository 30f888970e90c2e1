"""The Hierarchical Reasoning Model (arXiv 2506.21734): a slow planner H and a fast worker L."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from model.config import HRMConfig
from model.layers import Embedding, Level, Linear, PuzzleEmbedding, RotaryPositions, embedding_scale, truncated_normal

Gradient = Literal["last_step", "last_cycle"]
Module = Literal["H", "L"]


class Carry(NamedTuple):
    """The state between two segments; both are [B, positions, hidden]."""

    z_H: Tensor
    z_L: Tensor


class Output(NamedTuple):
    """What one segment says: logits [B, L, V] in the state's dtype, q_halt and q_continue [B] in fp32."""

    logits: Tensor
    q_halt: Tensor
    q_continue: Tensor


class HRM(nn.Module):
    """Two coupled recurrent modules and their heads.

    Parameter names are upstream's (sapientinc/HRM) without its wrapper prefix. The state's dtype is the
    computing dtype: `initial_carry(..., dtype=torch.bfloat16)` runs everything but the norms and the
    q-head in bf16.
    """

    H_init: Tensor
    L_init: Tensor

    def __init__(self, config: HRMConfig) -> None:
        super().__init__()
        self.config = config
        scale = embedding_scale(config.hidden_size)
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size, std=1 / scale)
        if config.puzzle_emb_ndim:
            self.puzzle_emb = PuzzleEmbedding(config)
        self.rotary: RotaryPositions | None = None
        if config.positions == "learned":
            self.embed_pos = Embedding(config.total_len, config.hidden_size, std=1 / scale)
        elif config.positions == "rope" and config.mixer == "attention":
            self.rotary = RotaryPositions(config.total_len, config.hidden_size // config.num_heads, config.rope_theta)
        self.L_level = Level(config, config.L_layers)
        if not config.shared_levels:
            self.H_level = Level(config, config.H_layers)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)
        self.q_head = nn.Linear(config.hidden_size, 2)
        # Halting starts out improbable (sigmoid(-5)), so that early training uses its segments.
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)
        self.register_buffer("H_init", truncated_normal(config.hidden_size, std=1.0))
        self.register_buffer("L_init", truncated_normal(config.hidden_size, std=1.0))

    def reset_positions(self, device: torch.device) -> None:
        """Compute RoPE's tables on `device`: they are not saved, so a network from the meta device lacks them."""
        if self.rotary is not None:
            self.rotary.reset(device)

    def initial_carry(self, batch_size: int, dtype: torch.dtype = torch.float32) -> Carry:
        """The state every puzzle starts from: the same fixed random vector at every position."""
        shape = (batch_size, self.config.total_len, self.config.hidden_size)
        return Carry(
            self.H_init.to(dtype).expand(shape).clone(),
            self.L_init.to(dtype).expand(shape).clone(),
        )

    def puzzle_vectors(self, puzzle_ids: Tensor) -> Tensor:
        """The puzzle embeddings of identifiers [B], [B, puzzle_emb_ndim] in fp32 on their device."""
        if not self.config.puzzle_emb_ndim:
            return torch.zeros(len(puzzle_ids), 0, device=puzzle_ids.device)
        return self.puzzle_emb.rows(puzzle_ids)

    def embed(self, tokens: Tensor, puzzle_vectors: Tensor) -> Tensor:
        """Tokens [B, L] and puzzle embeddings [B, puzzle_emb_ndim] -> input embedding [B, positions, hidden]."""
        embedding: Tensor = self.embed_tokens(tokens)
        if self.config.puzzle_emb_ndim:
            embedding = torch.cat((self.puzzle_emb(puzzle_vectors).to(embedding.dtype), embedding), dim=1)
        if self.config.positions == "learned":
            embedding = (embedding + self.embed_pos.embedding_weight) * 0.5**0.5
        return embedding_scale(self.config.hidden_size) * embedding

    def segment(
        self,
        carry: Carry,
        tokens: Tensor,
        puzzle_ids: Tensor | None = None,
        gradient: Gradient = "last_step",
    ) -> tuple[Carry, Output]:
        """One segment of a puzzle: `reason` over its embedding.

        Args:
            carry: the state before, from `initial_carry` or from the last segment.
            tokens: the puzzle, [B, L] integers.
            puzzle_ids: which puzzle embedding each row uses, [B]; all 0 where left out.
            gradient: see `reason`.

        Returns:
            The detached next state, and the output read from it.
        """
        ids = tokens.new_zeros(len(tokens)) if puzzle_ids is None else puzzle_ids
        return self.reason(carry, self.embed(tokens, self.puzzle_vectors(ids)), gradient)

    def reason(self, carry: Carry, embedding: Tensor, gradient: Gradient = "last_step") -> tuple[Carry, Output]:
        """One forward pass of N cycles: T steps of L and one of H each (section 2, equation 2).

        Args:
            carry: the state before, from `initial_carry` or from the last segment.
            embedding: the puzzle as `embed` gives it, [B, positions, hidden].
            gradient: what autograd sees: the last step of L and of H alone (the paper's one-step
                approximation, section 2, constant memory), or the whole last cycle (arXiv 2510.04871,
                section 4.1). The result is the same.

        Returns:
            The detached next state, and the output read from it.
        """
        embedding = embedding.to(carry.z_H.dtype)
        graded = 2 if gradient == "last_step" else self.config.L_cycles + 1
        with torch.no_grad():
            for module in self.schedule[:-graded]:
                carry = self.step(module, carry, embedding)
        for module in self.schedule[-graded:]:
            carry = self.step(module, carry, embedding)
        return Carry(carry.z_H.detach(), carry.z_L.detach()), self.read(carry.z_H)

    @property
    def schedule(self) -> tuple[Module, ...]:
        """The module calls of one segment, in order: L, L, H, L, L, H where N = T = 2."""
        cycle: list[Module] = ["L"] * self.config.L_cycles
        cycle.append("H")
        return tuple(cycle * self.config.H_cycles)

    def step(self, module: Module, carry: Carry, embedding: Tensor) -> Carry:
        """The state after one call of one module; `embedding` is in the state's dtype."""
        z_H, z_L = carry
        if module == "L":
            return Carry(z_H, self.L_level(z_L, z_H + embedding, self.rotary))
        level = self.L_level if self.config.shared_levels else self.H_level
        return Carry(level(z_H, z_L, self.rotary), z_L)

    def read(self, z_H: Tensor) -> Output:
        """What the heads read from z_H, [B, positions, hidden]."""
        logits = self.lm_head(z_H[:, self.config.prefix_len :])
        q = self.q_head(z_H[:, 0].to(self.q_head.weight.dtype)).float()
        return Output(logits, q[:, 0], q[:, 1])
