"""Which device and which dtype to compute in, decided by measurement."""

from __future__ import annotations

import ctypes
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

import torch

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""
_KEEP_BELOW = 2**30
"""Bytes: smaller blocks come from the heap and not from mappings of their own; so much of it stays when it is freed."""
_WORTH_IT = 1.5
"""How much faster bf16 must be to be taken, for what it costs in precision."""


class DeviceError(RuntimeError):
    """The device that was asked for is not there; the message says what is."""


def tune_allocator() -> None:
    """Keep in this process, in huge pages, what torch takes and frees in every segment; to be called before it does.

    It then costs no page faults (docs/performance.md, "Memory"). What the environment says otherwise holds; where
    the C library is not glibc, nothing is done.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & os.environ.keys():
        return
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _KEEP_BELOW)
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BELOW)


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
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float32
    speedup = bf16_speedup(device)
    log.info("bf16 measured against fp32", extra={"device": str(device), "times as fast": round(speedup, 2)})
    return torch.bfloat16 if speedup > _WORTH_IT else torch.float32


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
    """Bytes that can still be taken on `device`, within this process' control group; None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    machine = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min([*machine, *cgroup_room()], default=None)


def cgroup_room(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Bytes that can still be taken in each control group (v2) around this process that has a limit."""
    with suppress(OSError):
        path = own.read_text(encoding="utf-8").rpartition("0::/")[2].strip()
        groups = (root / path, *(root / path).parents)
        return [room for group in groups if group.is_relative_to(root) and (room := _room_in(group)) is not None]
    return []


def _room_in(group: Path) -> int | None:
    """What its limit leaves; files that are only kept in memory for the next reader give way."""
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        kept = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - used + int(kept["inactive_file"]))


def bf16_speedup(device: torch.device) -> float:
    """How many times faster a bf16 matrix product is than an fp32 one on `device`."""
    return product_flops(device, torch.bfloat16) / product_flops(device, torch.float32)


def product_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP a second of a matrix product on `device`, the best of a few; of a size that keeps it busy."""
    # A CPU's product takes a millisecond, so that some of many come out between two turns of other processes.
    size, products, rounds = (8192, 10, 3) if device.type == "cuda" else (512, 1, 20)
    a = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(rounds):
        a[0, 0].item()  # waits for what is under way
        start = time.perf_counter()
        for _ in range(products):
            product = a @ a
        product[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return products * 2 * size**3 / best
