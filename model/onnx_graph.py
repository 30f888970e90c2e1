"""One segment as an ONNX graph, written out op by op: what `HRM.reason` computes, in the order it does.

Written and not traced, so that a worker has it in a fraction of a second and needs no exporter. That it computes what
the network does is measured at every export (`model.onnx_export`), and tests do so for every variant of the network.

inputs   tokens [B, L] int64, puzzle_vectors [B, puzzle_emb_ndim] fp32 (where the network has such an embedding),
         z_H and z_L [B, positions, hidden]
outputs  next_z_H and next_z_L, logits [B, L, V], answer [B, L] uint8 (the tokens they choose),
         q_halt and q_continue [B] fp32, residual_H and residual_L [B] fp32 (norms of the state's change)

The batch may have any size. States and logits are in the computing dtype.
"""

from __future__ import annotations

from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from model.config import HRMConfig
from model.hrm import HRM
from model.layers import embedding_scale

OPSET = 20
STATE_INPUTS = ("z_H", "z_L")
OUTPUTS = ("next_z_H", "next_z_L", "logits", "answer", "q_halt", "q_continue", "residual_H", "residual_L")

_KINDS = {
    torch.float32: TensorProto.FLOAT,
    torch.bfloat16: TensorProto.BFLOAT16,
    torch.int64: TensorProto.INT64,
}
_LAST = 1 << 62
"""An end for Slice that lies behind every axis."""


def segment_model(network: HRM, dtype: torch.dtype = torch.float32) -> onnx.ModelProto:
    """The graph of one segment with the network's weights in it, computing in fp32 or bf16."""
    writer = _Writer(network, dtype)
    for name, value in zip(OUTPUTS, writer.segment(), strict=True):
        writer.call("Identity", value, output=name)
    inputs, outputs = _signature(network.config, _KINDS[dtype])
    graph = helper.make_graph(
        writer.nodes,
        "segment",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        list(writer.constants.values()),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _signature(config: HRMConfig, kind: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and outputs: by name, the kind of their numbers and their shapes."""
    batch, numbers = "batch", TensorProto.FLOAT
    cells, state = [batch, config.seq_len], [batch, config.total_len, config.hidden_size]
    inputs: dict[str, Any] = {"tokens": (TensorProto.INT64, cells)}
    if config.puzzle_emb_ndim:
        inputs["puzzle_vectors"] = (numbers, [batch, config.puzzle_emb_ndim])
    inputs |= dict.fromkeys(STATE_INPUTS, (kind, state))
    outputs: dict[str, Any] = dict.fromkeys(OUTPUTS, (numbers, [batch]))
    outputs |= {"next_z_H": (kind, state), "next_z_L": (kind, state)}
    outputs |= {"logits": (kind, [*cells, config.vocab_size]), "answer": (TensorProto.UINT8, cells)}
    return inputs, outputs


class _Writer:
    """Appends nodes; its methods take and give the names of values, and follow those of the network's parts."""

    def __init__(self, network: HRM, dtype: torch.dtype) -> None:
        self.network, self.config, self.dtype = network, network.config, dtype
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def segment(self) -> tuple[str, ...]:
        """The values of OUTPUTS."""
        z_H, z_L = STATE_INPUTS
        embedding = self.embedding()
        for module in self.network.schedule:
            if module == "L":
                z_L = self.level("L_level", self.config.L_layers, z_L, self.call("Add", z_H, embedding))
            elif self.config.shared_levels:
                z_H = self.level("L_level", self.config.L_layers, z_H, z_L)
            else:
                z_H = self.level("H_level", self.config.H_layers, z_H, z_L)
        residuals = [self.residual(new, old) for new, old in zip((z_H, z_L), STATE_INPUTS, strict=True)]
        return z_H, z_L, *self.answer(z_H), *self.q_values(z_H), *residuals

    def embedding(self) -> str:
        embedding = self.call("Gather", self.weight("embed_tokens.embedding_weight"), "tokens")
        if width := self.config.puzzle_emb_ndim:
            missing = self.config.prefix_len * self.config.hidden_size - width
            padded = self.call("Pad", "puzzle_vectors", self.whole(0, 0, 0, missing))
            prefix = self.call("Reshape", padded, self.whole(0, self.config.prefix_len, self.config.hidden_size))
            embedding = self.call("Concat", self.narrow(prefix), embedding, axis=1)
        if self.config.positions == "learned":
            embedding = self.call("Add", embedding, self.weight("embed_pos.embedding_weight"))
            embedding = self.call("Mul", embedding, self.number(0.5**0.5))
        return self.call("Mul", embedding, self.number(embedding_scale(self.config.hidden_size)))

    def level(self, name: str, layers: int, state: str, injection: str) -> str:
        state = self.call("Add", state, injection)
        for layer in range(layers):
            state = self.block(f"{name}.layers.{layer}", state)
        return state

    def block(self, name: str, x: str) -> str:
        if self.config.mixer == "attention":
            mixed = self.attention(f"{name}.self_attn", x)
        else:
            mixed = self.mix_positions(f"{name}.mlp_t", x)
        x = self.rms_norm(self.call("Add", x, mixed), axis=-2 if self.config.mixer_norm == "positions" else -1)
        return self.rms_norm(self.call("Add", x, self.swiglu(f"{name}.mlp", x)), axis=-1)

    def attention(self, name: str, x: str) -> str:
        heads, size = self.config.num_heads, self.config.hidden_size // self.config.num_heads
        joint = self.call("Reshape", self.linear(f"{name}.qkv_proj", x), self.whole(0, 0, 3, heads, size))
        by_head = self.call("Transpose", joint, perm=[2, 0, 3, 1, 4])  # [3, B, heads, positions, size]
        q, k, v = (self.call("Gather", by_head, self.whole_number(n), axis=0) for n in range(3))
        if self.network.rotary is not None:
            q, k = self.rotate(q), self.rotate(k)
        scores = self.call("MatMul", q, self.call("Transpose", k, perm=[0, 1, 3, 2]))
        weights = self.call("Softmax", self.call("Mul", scores, self.number(size**-0.5)), axis=-1)
        mixed = self.call("Transpose", self.call("MatMul", weights, v), perm=[0, 2, 1, 3])
        return self.linear(f"{name}.o_proj", self.call("Reshape", mixed, self.whole(0, 0, heads * size)))

    def rotate(self, x: str) -> str:
        rotary = self.network.rotary
        assert rotary is not None  # noqa: S101 (asked before)
        wide, half = self.wide(x), rotary.cos.shape[-1] // 2
        low = self.call("Slice", wide, self.whole(0), self.whole(half), self.whole(-1))
        high = self.call("Slice", wide, self.whole(half), self.whole(_LAST), self.whole(-1))
        turned = self.call("Concat", self.call("Neg", high), low, axis=-1)
        along = self.call("Mul", wide, self.constant("rotary.cos", rotary.cos))
        across = self.call("Mul", turned, self.constant("rotary.sin", rotary.sin))
        return self.narrow(self.call("Add", along, across))

    def mix_positions(self, name: str, x: str) -> str:
        """SwiGLU across positions: the weights stand on the left, so that nothing has to be transposed."""
        gate, up = (self.call("MatMul", self.constant(*half), x) for half in self.halves(f"{name}.gate_up_proj.weight"))
        return self.call("MatMul", self.weight(f"{name}.down_proj.weight"), self.gated(gate, up))

    def swiglu(self, name: str, x: str) -> str:
        gate, up = (
            self.call("MatMul", x, self.constant(f"{half}.T", value.T))
            for half, value in self.halves(f"{name}.gate_up_proj.weight")
        )
        return self.linear(f"{name}.down_proj", self.gated(gate, up))

    def halves(self, name: str) -> list[tuple[str, Tensor]]:
        """Gate and up apart, each with a name: their products are then not copied out of a common one."""
        gate, up = self.network.get_parameter(name).to(self.dtype).chunk(2)
        return [(f"{name}.gate", gate), (f"{name}.up", up)]

    def gated(self, gate: str, up: str) -> str:
        return self.call("Mul", self.call("Mul", gate, self.call("Sigmoid", gate)), up)

    def rms_norm(self, x: str, axis: int) -> str:
        """Written as ONNX Runtime knows RMSNorm, with a weight (of ones) after it: it then runs as one op."""
        wide = self.wide(x)
        square = self.call("Pow", wide, self.number(2.0, torch.float32))
        mean = self.call("ReduceMean", square, self.whole(axis), keepdims=1)
        norm = self.call("Sqrt", self.call("Add", mean, self.number(self.config.norm_eps, torch.float32)))
        ones = self.constant("ones", torch.ones(self.config.hidden_size))
        return self.narrow(self.call("Mul", self.call("Div", wide, norm), ones))

    def answer(self, z_H: str) -> tuple[str, str]:
        """Logits, and the tokens they choose."""
        cells = self.call("Slice", z_H, self.whole(self.config.prefix_len), self.whole(_LAST), self.whole(1))
        logits = self.linear("lm_head", cells)
        chosen = self.call("ArgMax", logits, axis=-1, keepdims=0)
        return logits, self.call("Cast", chosen, to=TensorProto.UINT8)

    def q_values(self, z_H: str) -> tuple[str, str]:
        first = self.wide(self.call("Gather", z_H, self.whole_number(0), axis=1))
        head = self.network.q_head
        weight, bias = self.constant("q_head.weight", head.weight), self.constant("q_head.bias", head.bias)
        q = self.call("Gemm", first, weight, bias, transB=1)
        halt, proceed = (self.call("Gather", q, self.whole_number(n), axis=1) for n in range(2))
        return halt, proceed

    def residual(self, new: str, old: str) -> str:
        change = self.wide(self.call("Sub", new, old))
        squares = self.call("ReduceSum", self.call("Mul", change, change), self.whole(1, 2), keepdims=0)
        return self.call("Sqrt", squares)

    def linear(self, name: str, x: str) -> str:
        """Multiply by W^T; the transposed matrix is what the file keeps."""
        return self.call("MatMul", x, self.weight(f"{name}.weight", transposed=True))

    def wide(self, x: str) -> str:
        """In fp32."""
        return x if self.dtype == torch.float32 else self.call("Cast", x, to=TensorProto.FLOAT)

    def narrow(self, x: str) -> str:
        """In the computing dtype."""
        return x if self.dtype == torch.float32 else self.call("Cast", x, to=_KINDS[self.dtype])

    def call(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """The result of one op."""
        name = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def weight(self, name: str, *, transposed: bool = False) -> str:
        value = self.network.get_parameter(name).to(self.dtype)
        return self.constant(f"{name}.T", value.T) if transposed else self.constant(name, value)

    def whole(self, *numbers: int) -> str:
        return self.constant("whole_" + "_".join(map(str, numbers)), torch.tensor(numbers))

    def whole_number(self, number: int) -> str:
        return self.constant(f"whole_number_{number}", torch.tensor(number))

    def number(self, value: float, dtype: torch.dtype | None = None) -> str:
        dtype = dtype or self.dtype
        return self.constant(f"number_{value:g}_{dtype}", torch.tensor(value, dtype=dtype))

    def constant(self, name: str, value: Tensor) -> str:
        if name not in self.constants:
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            self.constants[name] = helper.make_tensor(name, _KINDS[value.dtype], value.shape, raw, raw=True)
        return name
