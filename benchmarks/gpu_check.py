"""Everything that has to be shown on a GPU, in one command that takes minutes.

    python -m benchmarks.gpu_check [--device cuda] [--slots 256] [--small] [--json FILE]

The network is the paper's configuration (27M parameters) for Sudoku, with random weights: speed does not depend on
them. `--small` takes a small network instead, so that the command itself can be tried where there is no GPU. With onnx
and onnxruntime-gpu installed, ONNX Runtime is compared, too. Exits with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import canary_puzzles, options, report, works
from benchmarks.flops import segment_flops
from benchmarks.ways import run_engine
from model.checkpoint import Canary, CheckpointInfo, write_checkpoint
from model.config import HRMConfig
from model.device import product_flops
from model.hrm import HRM
from model.registry import Registry
from model.tasks import get_task
from model.weights import load_model, memory_needed, serialise
from service.engine.choice import segment_s
from service.engine.graph import can_compile
from service.engine.load import Loader
from service.engine.runner import Admission
from service.engine.torch_runner import TorchRunner
from service.packages import onnx_installed
from service.settings import load_settings

PAPER = HRMConfig(vocab_size=11, seq_len=81)
SMALL = HRMConfig(vocab_size=11, seq_len=81, hidden_size=32, num_heads=2, H_layers=1, L_layers=1, inner_multiple=32)
ROUNDS = 30

Figures = dict[str, object]


class Check:
    """One network in two versions, and runners over it."""

    def __init__(self, folder: Path, config: HRMConfig, device: torch.device, slots: int) -> None:
        self.config, self.device, self.slots = config, device, slots
        self.first, self.second = (_written(folder, config, seed) for seed in (1, 2))
        self.compiles = can_compile(device)
        self.slot_segments_s = float("nan")

    def runner(self, info: CheckpointInfo, dtype: torch.dtype = torch.bfloat16, **options: Any) -> TorchRunner:
        runner = TorchRunner(load_model(info, self.device, dtype), self.slots, dtype, **options)
        runner.warm_up()
        return runner

    # What must be shown, one by one

    def speed(self) -> Figures:
        """The full table: segments, FLOP and memory, beside what the device could do."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        runner = self.runner(self.first, compiled=self.compiles)
        seconds = median_s(runner, self.slots)
        self.slot_segments_s = self.slots / seconds
        flops = self.slots * segment_flops(self.config)
        peak = product_flops(self.device, torch.bfloat16)
        found: Figures = {
            "segment of all slots, ms": 1e3 * seconds,
            "segments/s": 1 / seconds,
            "slot-segments/s": self.slot_segments_s,
            "model TFLOP/s": flops / seconds / 1e12,
            "measured bf16 product TFLOP/s": peak / 1e12,
            "share of it": flops / seconds / peak,
            "memory foreseen MB": memory_needed(self.config, self.slots) / 1e6,
        }
        if self.device.type == "cuda":
            found["memory taken MB, at most"] = torch.cuda.max_memory_allocated() / 1e6
        return found

    def shipped(self) -> Figures:
        """The shipped Sudoku checkpoint on this device: puzzles a second, and what its mean segments mean for 27M."""
        info = Registry([Path(__file__).parent.parent / "checkpoints"]).current("sudoku")
        if info is None:
            return {"shipped checkpoint": "there is none"}
        settings = load_settings(
            backend="torch", device=str(self.device), slots=self.slots, compile="auto" if self.compiles else "off"
        )
        table = Loader(settings).load(info)
        queue = works(info, canary_puzzles(info, 16 * self.slots))
        run_engine(table, queue[: 2 * self.slots])
        seconds, counted = run_engine(table, queue)
        runner = table.runner
        assert isinstance(runner, TorchRunner)
        bound = self.slots / median_s(runner, self.slots) / counted.mean_segments
        return {
            "shipped checkpoint, puzzles/s": len(queue) / seconds,
            "bound of its bare segment, puzzles/s": bound,
            "its mean segments": counted.mean_segments,
            "the checked network at so many segments, puzzles/s": self.slot_segments_s / counted.mean_segments,
        }

    def modes(self) -> Figures:
        """Eager and compiled, launched op by op and as CUDA graphs."""
        found: Figures = {}
        for compiled in (False, True) if self.compiles else (False,):
            for graphs in (False, True) if self.device.type == "cuda" else (False,):
                runner = self.runner(self.first, compiled=compiled, graphs=graphs)
                one, full = (1e3 * median_s(runner, n) for n in (1, self.slots))
                found[f"{runner.mode}: ms at 1 row, at all"] = f"{one:.4g}, {full:.4g}"
        return found

    def alone(self) -> Figures:
        """One puzzle by itself: from launch to answer, beside the time that kernels run in it."""
        runner = self.runner(self.first, compiled=self.compiles)
        _admit(runner, [0], 1)
        spent = []
        for _ in range(10 * ROUNDS):
            start = time.perf_counter()
            runner.launch(np.arange(1))
            runner.collect()
            spent.append(time.perf_counter() - start)
        kernels = kernels_s(runner)
        p50 = float(np.median(spent))
        return {
            "p50 of one puzzle's segment, ms": 1e3 * p50,
            "sum of its kernels, ms": 1e3 * kernels,
            "p50 against the kernels": p50 / kernels,
        }

    def swap(self) -> Figures:
        """Other weights under captured graphs: what a fresh runner says, bit for bit, and back again."""
        runner, fresh = (self.runner(info, compiled=self.compiles) for info in (self.first, self.second))
        before = said(runner, self.slots)
        start = time.perf_counter()
        runner.load(self.second)
        seconds = time.perf_counter() - start
        swapped, expected = said(runner, self.slots), said(fresh, self.slots)
        runner.load(self.first)
        back = said(runner, self.slots)
        return {
            "hot swap, ms": 1e3 * seconds,
            "after the swap it says what a fresh runner says": _verdict(same(swapped, expected)),
            "and something else than before": _verdict(not same(swapped, before)),
            "back again, what it said first": _verdict(same(back, before)),
        }

    def neighbours(self) -> Figures:
        """Promise 4 within one shape: beside others, at another place, alone in a fixed batch."""
        runner = self.runner(self.first, compiled=self.compiles)
        rng = np.random.default_rng(0)
        full = said(runner, self.slots)
        order = rng.permutation(self.slots)
        shuffled = said(runner, self.slots, order)
        fixed = self.runner(self.first, compiled=self.compiles, fixed_batch=True)
        crowd = said(fixed, self.slots)
        solo = said(fixed, 1)
        return {
            "shuffled: bitwise the same": _verdict(same([a[order] for a in full], shuffled)),
            "solo in a fixed batch: bitwise the same": _verdict(same([a[:1] for a in crowd], solo)),
        }

    def onnx(self) -> Figures:
        """ONNX Runtime on this device's provider, in fp32, beside torch."""
        if not onnx_installed():
            return {"ONNX Runtime": "not installed: pip install 'hrm-serve[onnx-gpu]'"}
        from service.engine.onnx_runner import PROVIDERS, OnnxRunner  # noqa: PLC0415 (an extra of its own)

        model = load_model(self.first, self.device, torch.float32)
        ours = self.runner(self.first, torch.float32, graphs=False)
        try:
            theirs = OnnxRunner(model, self.slots, torch.float32)
            theirs.warm_up()
        except Exception as error:
            return {"ONNX Runtime": f"FAILED: {str(error).splitlines()[0]}"}
        rows = min(8, self.slots)
        pairs = list(zip(said(ours, rows), said(theirs, rows), strict=True))
        apart = max(float(np.abs(a.astype(float) - b.astype(float)).max()) for a, b in pairs[1:])
        found: Figures = {
            f"ONNX ({PROVIDERS[self.device.type]}) from torch, fp32, at most": apart,
            "ONNX within 1e-4": _verdict(apart < 1e-4),
            f"ONNX answers that differ, of {rows}": int((pairs[0][0] != pairs[0][1]).any(axis=1).sum()),
            "ONNX fp32 ms at all, torch eager fp32": f"{1e3 * median_s(theirs, self.slots):.4g}, "
            f"{1e3 * median_s(ours, self.slots):.4g}",
        }
        return found


def said(runner: TorchRunner, rows: int, order: np.ndarray[Any, Any] | None = None) -> list[np.ndarray[Any, Any]]:
    """Tokens, q values and confidence of `rows` puzzles after two segments; `order`: which puzzle sits where."""
    _admit(runner, np.arange(rows) if order is None else order, 2)
    for _ in range(2):
        runner.launch(np.arange(rows))
        readback = runner.collect()
    return [readback.tokens, readback.q_halt, readback.q_continue, readback.confidence]


def same(ours: list[np.ndarray[Any, Any]], theirs: list[np.ndarray[Any, Any]]) -> bool:
    """Bit for bit."""
    return all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))


def median_s(runner: TorchRunner, rows: int) -> float:
    """Median device seconds of a segment."""
    return float(np.median([segment_s(runner, rows) for _ in range(ROUNDS)]))


def kernels_s(runner: TorchRunner) -> float:
    """Seconds that kernels (on a CPU: ops) run in a segment of one row, by the profiler."""
    cuda = runner.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as seen:
        for _ in range(ROUNDS):
            runner.launch(np.arange(1))
            runner.collect()
    events = seen.key_averages()
    spent = sum(event.self_device_time_total if cuda else event.self_cpu_time_total for event in events)
    return float(spent) / 1e6 / ROUNDS


def _admit(runner: TorchRunner, puzzles: Any, segments: int) -> None:
    cells = np.random.default_rng(7).integers(1, 11, (runner.size, runner.model.config.seq_len)).astype(np.uint8)
    ones = np.ones(len(puzzles), dtype=np.int64)
    chosen = cells[puzzles]
    runner.admit(
        Admission(np.arange(len(puzzles)), chosen, np.ones_like(chosen, dtype=bool), 0 * ones, ones, segments * ones)
    )


def _verdict(good: bool) -> str:
    return "yes" if good else "NO"


def _written(folder: Path, config: HRMConfig, seed: int) -> CheckpointInfo:
    torch.manual_seed(seed)
    task = get_task("sudoku")
    network = HRM(config)
    torch.nn.init.normal_(network.q_head.weight, std=0.02)
    return write_checkpoint(
        folder / "sudoku" / str(seed), task=task.describe(), architecture=config, weights=serialise(network),
        canaries=[Canary(*task.examples()[0])], canary_accuracy=0.0, training={},
    )  # fmt: skip


def checks(check: Check) -> Mapping[str, Callable[[], Figures]]:
    """In the order in which they are run."""
    return {
        "speed": check.speed,
        "the shipped checkpoint": check.shipped,
        "graphs and modes": check.modes,
        "one puzzle alone": check.alone,
        "hot swap": check.swap,
        "promise 4": check.neighbours,
        "ONNX Runtime": check.onnx,
    }


def main() -> None:
    parser = options(__doc__, checkpoints=False, file=False)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--small", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --device cpu --small tries the command without one")
    config = SMALL if arguments.small else PAPER
    start, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        check = Check(Path(folder), replace(config), device, arguments.slots)
        check.compiles = check.compiles and arguments.compile
        for name, measure in checks(check).items():
            began = time.perf_counter()
            found = measure()
            rows += [{"check": name, "what": what, "found": value} for what, value in found.items()]
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    parameters = sum(p.numel() for p in HRM(config).parameters())
    figures = {"parameters": parameters, "slots": arguments.slots, "seconds": time.perf_counter() - start}
    report(f"GPU check on {device}", rows, figures, arguments.output)
    if any(row["found"] == "NO" for row in rows):
        raise SystemExit("one of the checks failed")


if __name__ == "__main__":
    main()
