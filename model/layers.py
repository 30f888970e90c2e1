"""The network's parts: casted linear maps, RoPE, attention, SwiGLU, RMSNorm and the block made of them.

Parameters may be kept in fp32 while the state flows in bf16: every map casts its weight to the dtype of
what it is applied to (a no-op where both agree).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import HRMConfig

# Standard deviation of a unit normal that is cut off at two.
_TRUNCATED_STD = 0.87962566103423978


def truncated_normal(*shape: int, std: float) -> Tensor:
    """A tensor drawn from a normal cut at two deviations, scaled so that its deviation is exactly `std`."""
    wide = std / _TRUNCATED_STD
    return nn.init.trunc_normal_(torch.empty(*shape), std=wide, a=-2 * wide, b=2 * wide)


class Linear(nn.Module):
    """y = x W^T without a bias; W is drawn with deviation 1/sqrt(fan_in)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal(out_features, in_features, std=in_features**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class Embedding(nn.Module):
    """A table of `count` vectors; the parameter keeps upstream's name."""

    def __init__(self, count: int, dim: int, std: float) -> None:
        super().__init__()
        self.embedding_weight = nn.Parameter(truncated_normal(count, dim, std=std))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.embedding_weight)


def rms_norm(x: Tensor, eps: float, dim: int = -1) -> Tensor:
    """RMSNorm over one axis without a weight, computed in fp32."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(dim, keepdim=True) + eps)).to(x.dtype)


class RotaryPositions(nn.Module):
    """cos and sin of RoPE's angles, [positions, head_dim], rotate-half layout; computed, never saved."""

    cos: Tensor
    sin: Tensor

    def __init__(self, positions: int, head_dim: int, theta: float) -> None:
        super().__init__()
        self.theta = theta
        self.register_buffer("cos", torch.empty(positions, head_dim), persistent=False)
        self.register_buffer("sin", torch.empty(positions, head_dim), persistent=False)
        if not self.cos.is_meta:
            self.reset(self.cos.device)

    def reset(self, device: torch.device) -> None:
        """Compute the tables on a device that has memory."""
        positions, head_dim = self.cos.shape
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
        angles = torch.outer(torch.arange(positions, dtype=torch.float32, device=device), 1.0 / self.theta**exponents)
        angles = torch.cat((angles, angles), dim=-1)
        self.cos, self.sin = angles.cos(), angles.sin()

    def rotate(self, x: Tensor) -> Tensor:
        """x: [B, heads, positions, head_dim]."""
        half = x.shape[-1] // 2
        turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return (x * self.cos + turned * self.sin).to(x.dtype)


class Attention(nn.Module):
    """Full (not causal) self-attention; one matrix holds q, k and v, head by head."""

    def __init__(self, config: HRMConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv_proj = Linear(config.hidden_size, 3 * config.hidden_size)
        self.o_proj = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, rotary: RotaryPositions | None) -> Tensor:
        batch, positions, hidden = x.shape
        heads = self.qkv_proj(x).view(batch, positions, 3, self.num_heads, hidden // self.num_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each [B, heads, positions, head_dim]
        if rotary is not None:
            q, k = rotary.rotate(q), rotary.rotate(k)
        mixed = F.scaled_dot_product_attention(q, k, v)
        merged: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, positions, hidden))
        return merged


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) over the last axis; gate and up are one matrix."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up_proj = Linear(width, 2 * inner)
        self.down_proj = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        down: Tensor = self.down_proj(F.silu(gate) * up)
        return down


class Block(nn.Module):
    """Post-norm: x = rms(x + mix(x)); x = rms(x + swiglu(x)). x is [B, positions, hidden]."""

    def __init__(self, config: HRMConfig) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.mixer_norm_dim = -2 if config.mixer_norm == "positions" else -1
        if config.mixer == "attention":
            self.self_attn = Attention(config)
        else:
            self.mlp_t = SwiGLU(config.total_len, config.inner_size(config.total_len))
        self.mlp = SwiGLU(config.hidden_size, config.inner_size(config.hidden_size))
        self.attends = config.mixer == "attention"

    def forward(self, x: Tensor, rotary: RotaryPositions | None) -> Tensor:
        if self.attends:
            mixed = self.self_attn(x, rotary)
        else:
            # Contiguous: else the products are batched ones with a copy of the weights for each row.
            mixed = self.mlp_t(x.transpose(1, 2).contiguous()).transpose(1, 2)
        x = rms_norm(x + mixed, self.eps, self.mixer_norm_dim)
        return rms_norm(x + self.mlp(x), self.eps)


class Level(nn.Module):
    """One recurrent module (H or L): add the injection to the state once, then run the blocks."""

    def __init__(self, config: HRMConfig, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(num_layers))

    def forward(self, state: Tensor, injection: Tensor, rotary: RotaryPositions | None) -> Tensor:
        state = state + injection
        for block in self.layers:
            state = block(state, rotary)
        return state


class PuzzleEmbedding(nn.Module):
    """One vector per puzzle identifier, zero at the start, handed out as prefix positions.

    The table is a buffer, not a parameter: training updates only the rows a batch used, with an optimiser
    of its own. A checkpoint's table may have a million rows: it then lies in a mapped file and not on the
    device, and only the rows that are asked for are read.
    """

    weights: Tensor

    def __init__(self, config: HRMConfig) -> None:
        super().__init__()
        self.prefix_len, self.hidden = config.prefix_len, config.hidden_size
        self.register_buffer("weights", torch.zeros(config.num_puzzles, config.puzzle_emb_ndim))

    def rows(self, puzzle_ids: Tensor) -> Tensor:
        """puzzle_ids [B] -> vectors [B, puzzle_emb_ndim] on the device of the ids."""
        return self.weights[puzzle_ids.to(self.weights.device)].to(puzzle_ids.device)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors [B, puzzle_emb_ndim] -> prefix [B, prefix_len, hidden], zero padded."""
        padded = F.pad(vectors, (0, self.prefix_len * self.hidden - vectors.shape[-1]))
        return padded.view(-1, self.prefix_len, self.hidden)


def embedding_scale(hidden_size: int) -> float:
    """Token embeddings are drawn with deviation 1/scale and multiplied by it when used."""
    return math.sqrt(hidden_size)
