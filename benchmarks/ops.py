"""Which operations a segment's time goes to: one segment of many rows, eagerly, under the profiler.

    python -m benchmarks.ops [--rows 64] [--device cpu] [--json FILE]

Compiled, the element-wise operations melt into few kernels; the products stay what they are.
"""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import options, report, shipped
from model.device import pick_device, pick_dtype
from model.weights import load_model
from service.settings import load_settings

SHOWN = 8


@torch.inference_mode()
def main() -> None:
    parser = options(__doc__, file=False)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--segments", type=int, default=10)
    arguments = parser.parse_args()
    info, device = shipped(arguments.task, arguments.checkpoints), pick_device(arguments.device)
    dtype = pick_dtype(load_settings().precision, device)
    model = load_model(info, device, dtype)
    tokens = torch.randint(1, model.config.vocab_size, (arguments.rows, model.config.seq_len), device=device)
    carry, _ = model.segment(model.initial_carry(arguments.rows, dtype), tokens)
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as seen:
        for _ in range(arguments.segments):
            carry, _ = model.segment(carry, tokens)
    spent = {
        event.key: (event.self_device_time_total if cuda else event.self_cpu_time_total, event.count)
        for event in seen.key_averages()
    }
    whole = sum(us for us, _ in spent.values())
    rows = [
        {"operation": name, "% of the time": 100 * us / whole, "times a segment": count / arguments.segments}
        for name, (us, count) in sorted(spent.items(), key=lambda item: -item[1][0])[:SHOWN]
    ]
    figures = {
        "ms a segment": whole / 1e3 / arguments.segments,
        "rows": arguments.rows,
        "dtype": str(dtype).removeprefix("torch."),
        "checkpoint": info.name,
    }
    report("where a segment's time goes", rows, figures, arguments.output)


if __name__ == "__main__":
    main()
