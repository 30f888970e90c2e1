"""Which device and which dtype to compute in, decided by measurement."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch


class DeviceError(RuntimeError):
    """The device that was asked for is not there; the message says what is."""


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:1", "mps"."""
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        cuda = torch.cuda.device_count()
        raise DeviceError(f"device {name!r} is not there ({cuda} CUDA devices): {str(error).splitlines()[0]}") from None
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The computing dtype called `name`: "fp32", "bf16", or "auto" for whichever multiplies faster here."""
    if name == "fp32":
        return torch.float32
    if name == "bf16":
        return torch.bfloat16
    if name != "auto":
        raise DeviceError(f"precision must be auto, fp32 or bf16, not {name!r}")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if bf16_speedup(device) > 1.5 else torch.float32


def used_memory(device: torch.device) -> int | None:
    """Bytes that this process holds on `device`, or None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.memory_reserved(device))
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on `device`, or None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def bf16_speedup(device: torch.device, size: int = 512) -> float:
    """How many times faster a bf16 matrix product is than an fp32 one on `device`."""
    return _product_seconds(device, torch.float32, size) / _product_seconds(device, torch.bfloat16, size)


def _product_seconds(device: torch.device, dtype: torch.dtype, size: int) -> float:
    a = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - start)
    return best
