"""What a run computes with, in words."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def describe(device: torch.device, processes: int) -> str:
    """Like "8 x NVIDIA H100" or "2 threads of an AMD EPYC 9B14"."""
    many = f"{processes} x " if processes > 1 else ""
    if device.type == "cuda":
        return many + torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return many + f"{device.type} on {platform.machine()}"
    threads = torch.get_num_threads()
    return f"{many}{threads} thread{'s' if threads > 1 else ''} of {_processor()} ({os.cpu_count()} cores)"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
