"""The processor's cores, as far as this process is concerned."""

from __future__ import annotations

import os


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_each(processes: int) -> dict[str, str]:
    """The environment in which each of several processes computes with its part of the cores; of one, as it likes.

    Threads of several processes that each want all cores wait for each other.
    """
    return {"OMP_NUM_THREADS": str(max(1, cores() // processes))} if processes > 1 else {}
