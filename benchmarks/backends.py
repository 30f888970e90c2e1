"""Backends, modes and dtypes: what a segment takes with each of them, and which one `auto` takes.

    python -m benchmarks.backends [--slots 64] [--rounds 10] [--json FILE]

All of them run the same network in turn; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.common import options, report, shipped
from model.checkpoint import CheckpointInfo
from model.device import bf16_speedup, pick_device
from model.weights import load_model
from service.engine.build import Builder
from service.engine.choice import segment_s
from service.engine.graph import can_compile
from service.engine.torch_runner import TorchRunner
from service.packages import onnx_installed
from service.settings import load_settings


def candidates(
    info: CheckpointInfo, device: torch.device, slots: int, *, compiles: bool
) -> dict[str, Callable[[], TorchRunner]]:
    """Everything that could run the checkpoint here, by name."""

    def with_torch(dtype: torch.dtype, compiled: bool) -> TorchRunner:
        return TorchRunner(load_model(info, device, dtype), slots, dtype, compiled=compiled)

    def with_onnx(dtype: torch.dtype) -> TorchRunner:
        from service.engine.onnx_runner import OnnxRunner  # noqa: PLC0415 (an extra of its own)

        return OnnxRunner(load_model(info, device, dtype), slots, dtype)

    found: dict[str, Callable[[], TorchRunner]] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        found[f"torch eager {name}"] = partial(with_torch, dtype, compiled=False)
        if compiles:
            found[f"torch compiled {name}"] = partial(with_torch, dtype, compiled=True)
        if onnx_installed() and (name == "fp32" or device.type == "cuda"):
            found[f"onnx {name}"] = partial(with_onnx, dtype)
    return found


def main() -> None:
    parser = options(__doc__, file=False)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    info, device = shipped(arguments.task, arguments.checkpoints), pick_device(arguments.device)
    compiles = arguments.compile and can_compile(device)
    runners = {name: make() for name, make in candidates(info, device, arguments.slots, compiles=compiles).items()}
    for runner in runners.values():
        runner.warm_up()
    counts = sorted({1, min(8, arguments.slots), arguments.slots})
    seconds: dict[tuple[str, int], list[float]] = {(name, n): [] for name in runners for n in counts}
    for _ in range(arguments.rounds):
        for (name, n), spent in seconds.items():
            spent.append(segment_s(runners[name], n))
    median = {key: float(np.median(spent)) for key, spent in seconds.items()}
    rows = [
        {
            "runs with": name,
            **{f"ms at {n} rows": 1e3 * median[name, n] for n in counts},
            "segments/s at all": 1 / median[name, arguments.slots],
            "against eager fp32": median["torch eager fp32", arguments.slots] / median[name, arguments.slots],
        }
        for name in runners
    ]
    with tempfile.TemporaryDirectory() as nothing_remembered:
        settings = load_settings(slots=arguments.slots, device=arguments.device, state_dir=nothing_remembered)
        settings = settings if arguments.compile else settings.model_copy(update={"compile": "off"})
        chosen = Builder(settings).build(info, arguments.slots).describe()
    figures = {
        "auto takes": f"{chosen['backend']}, {chosen['mode']}, {chosen['dtype']}",
        "because": "its segment was the fastest when it was built; bf16 only where products are 1.5 times as fast",
        "bf16 products against fp32": bf16_speedup(device),
        "checkpoint": info.name,
        "slots": arguments.slots,
    }
    report("seconds of a segment", rows, figures, arguments.output)


if __name__ == "__main__":
    main()
