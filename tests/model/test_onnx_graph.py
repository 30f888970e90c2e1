"""The graph that is written out op by op says what the network says."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model.hrm import HRM
from model.onnx_export import torch_says
from model.onnx_graph import OPSET, OUTPUTS, segment_model

ROWS = 3
TOKENS = torch.randint(1, 11, (ROWS, 81), generator=torch.Generator().manual_seed(1))

VARIANTS = [
    {},
    {"mixer": "mlp", "inner_multiple": 24},
    {"mixer": "mlp", "mixer_norm": "positions"},
    {"positions": "learned"},
    {"positions": "none", "H_cycles": 1, "L_cycles": 3},
    {"puzzle_emb_ndim": 40, "num_puzzles": 4},
    {"puzzle_emb_ndim": 40, "num_puzzles": 4, "positions": "learned", "puzzle_emb_len": 5},
    {"shared_levels": True, "halt_rule": "halt_over_zero"},
    {"loss": "softmax", "H_layers": 2},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: ", ".join(f"{k}={x}" for k, x in v.items()) or "as is")
def test_every_variant_of_the_network_over_two_segments(tiny_config, variant):
    torch.manual_seed(0)
    network = HRM(dataclasses.replace(tiny_config, **variant)).requires_grad_(False)
    torch.nn.init.normal_(network.q_head.weight)
    model = segment_model(network)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    carry = network.initial_carry(ROWS)
    inputs = {"tokens": TOKENS.numpy(), "z_H": carry.z_H.numpy(), "z_L": carry.z_L.numpy()}
    if network.config.puzzle_emb_ndim:
        inputs["puzzle_vectors"] = torch.randn(ROWS, network.config.puzzle_emb_ndim).numpy()
    for _ in range(2):
        expected = torch_says(network, inputs)
        for name, said in zip(OUTPUTS, session.run(OUTPUTS, inputs), strict=True):
            np.testing.assert_allclose(said, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)
        inputs |= {"z_H": expected["next_z_H"], "z_L": expected["next_z_L"]}


def test_in_bf16_it_is_a_valid_graph_in_bf16(tiny):
    model = segment_model(tiny, torch.bfloat16)
    onnx.checker.check_model(model, full_check=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    assert kinds["z_H"] == kinds["next_z_L"] == onnx.TensorProto.BFLOAT16
    assert kinds["q_halt"] == onnx.TensorProto.FLOAT
    assert model.opset_import[0].version == OPSET
