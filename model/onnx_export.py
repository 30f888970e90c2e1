"""A checkpoint as one ONNX file: a segment, its weights, and in the metadata all that a caller of it needs.

Metadata: checkpoint, sha256 (of its weights), task (its description), opset, dtype, halt_rule, max_segments, and
H_init and L_init, the vectors that z_H and z_L start from at every position (all of them JSON).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from model.checkpoint import CheckpointError, CheckpointInfo
from model.hrm import HRM
from model.onnx_graph import OPSET, OUTPUTS, segment_model
from model.weights import load_model

TOLERANCE = 1e-4
"""Absolute and relative, in fp32."""
_PUZZLES, _SEGMENTS = 8, 2

Arrays = dict[str, NDArray[Any]]
Say = Callable[[Arrays], Arrays]
"""From a segment's inputs to its outputs, by their names."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and how far it was from torch at most."""

    path: Path
    opset: int
    largest_difference: float


def export_onnx(info: CheckpointInfo, path: Path) -> Export:
    """Write a checkpoint's segment in fp32 as the file `path`, which must not exist yet.

    Raises:
        CheckpointError: the checkpoint is damaged, `path` cannot be written, or ONNX Runtime does not say what torch
            says.
    """
    if path.exists():
        raise CheckpointError(f"{path}: exists already")
    info.verify()
    network = load_model(info, torch.device("cpu"), torch.float32)
    model = segment_model(network)
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in _metadata(info, network).items()})
    model.doc_string = __doc__ or ""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    difference = require_equal(
        network, info, lambda inputs: dict(zip(OUTPUTS, session.run(OUTPUTS, inputs), strict=True))
    )
    partial = path.with_name(f".{path.name}.partial")
    try:
        onnx.save(model, partial)
        partial.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from None
    return Export(path, OPSET, difference)


def require_equal(network: HRM, info: CheckpointInfo, other: Say) -> float:
    """The largest difference between what torch and another say of the checkpoint's canaries, segment by segment.

    Args:
        network: in fp32.
        info: whose canaries are asked.
        other: who is compared.

    Raises:
        CheckpointError: an answer is another one, or a number differs by more than TOLERANCE.
    """
    canaries = info.canaries()[:_PUZZLES]
    rows = [(info.identifiers or {}).get(canary.puzzle_id or "", 0) for canary in canaries]
    carry = network.initial_carry(len(canaries))
    inputs: Arrays = {
        "tokens": np.stack([info.codec.parse(canary.puzzle) for canary in canaries]).astype(np.int64),
        "z_H": carry.z_H.numpy(),
        "z_L": carry.z_L.numpy(),
    }
    if network.config.puzzle_emb_ndim:
        inputs["puzzle_vectors"] = network.puzzle_vectors(torch.tensor(rows)).numpy()
    largest = 0.0
    for segment in range(1, _SEGMENTS + 1):
        expected, said = torch_says(network, inputs), other(inputs)
        for name in OUTPUTS:
            ours, theirs = expected[name].astype(np.float64), said[name].astype(np.float64)
            if not np.allclose(theirs, ours, rtol=TOLERANCE, atol=TOLERANCE):
                worst = np.abs(theirs - ours).max()
                raise CheckpointError(f"{info.path}: {name} differs by {worst:.2g} from torch in segment {segment}")
            largest = max(largest, float(np.abs(theirs - ours).max()))
        inputs |= {"z_H": expected["next_z_H"], "z_L": expected["next_z_L"]}
    return largest


@torch.inference_mode()
def torch_says(network: HRM, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """What the graph is to say, as the network says it."""
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    before = network.initial_carry(0)._replace(z_H=given["z_H"], z_L=given["z_L"])
    vectors = given.get("puzzle_vectors", torch.zeros(len(given["tokens"]), 0))
    after, output = network.reason(before, network.embed(given["tokens"], vectors))
    answer = output.logits.argmax(-1).to(torch.uint8)
    residuals = [(new - old).square().sum((1, 2)).sqrt() for new, old in zip(after, before, strict=True)]
    values = (*after, output.logits, answer, output.q_halt, output.q_continue, *residuals)
    return {name: value.numpy() for name, value in zip(OUTPUTS, values, strict=True)}


def _metadata(info: CheckpointInfo, network: HRM) -> dict[str, Any]:
    return {
        "checkpoint": info.name,
        "sha256": info.sha256,
        "task": info.task_description,
        "opset": OPSET,
        "dtype": "fp32",
        "halt_rule": network.config.halt_rule,
        "max_segments": info.max_segments,
        "H_init": network.H_init.tolist(),
        "L_init": network.L_init.tolist(),
    }
