"""How fast a full queue says no, while the engine is saturated by those that are in.

    python -m benchmarks.queue_full [--checkpoints DIR] [--queue-limit 256] [--probes 200] [--json FILE]

Enough callers to fill the slots and the queue ask again and again; one more asks now and then, and is timed.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.cluster import Cluster
from benchmarks.common import options, report
from benchmarks.load import Caller, Response, drive
from model.tasks import get_task
from service.settings import load_settings

TASK, SLOTS = "sudoku", 64
BODY = {"task": TASK, "puzzle": get_task(TASK).examples()[0][0], "mode": "fixed", "max_segments": 16}
BUSY = 503
EXTRA, PAUSE_S = 16, 0.2


async def crowd(cluster: Cluster, callers: int, answered: list[int]) -> None:
    """Callers that fill the queue, and again whenever one of them is answered."""

    async def call() -> None:
        caller = Caller(cluster.url)
        while True:
            response = await caller.post("/solve", BODY)
            answered[0] += response.status != BUSY
            await asyncio.sleep(PAUSE_S if response.status == BUSY else 0)

    await asyncio.gather(*(call() for _ in range(callers)))


async def measure(cluster: Cluster, limit: int, probes: int) -> tuple[list[Mapping[str, object]], dict[str, object]]:
    answered = [0]
    crowding = asyncio.create_task(crowd(cluster, limit + SLOTS + EXTRA, answered))
    (worker,) = cluster.ready("worker")
    caller = Caller(cluster.url)
    refusals: list[Response] = []
    asked = 0
    while len(refusals) < probes:
        response = await caller.post("/solve", BODY | {"max_segments": 1, "timeout_s": 5})
        asked += 1
        if response.status == BUSY:
            refusals.append(response)
        await asyncio.sleep(PAUSE_S)
    live = await asyncio.to_thread(worker.metric, "hrm_slots_occupied")
    crowding.cancel()
    seconds = np.array([refusal.seconds for refusal in refusals])
    rows: list[Mapping[str, object]] = [
        {"refused in": f"p{percent}", "ms": float(np.quantile(seconds, percent / 100)) * 1e3}
        for percent in (50, 90, 99)
    ]
    figures: dict[str, object] = {
        "refusals": len(refusals),
        "of them with Retry-After": sum("retry-after" in refusal.headers for refusal in refusals),
        "asked in all": asked,
        "answered meanwhile, others": answered[0],
        "busy slots at the end": f"{live:.0f} of {SLOTS}",
        "queue limit": limit,
    }
    return rows, figures


def main() -> None:
    parser = options(__doc__, file=False)
    parser.add_argument("--queue-limit", type=int, default=256)
    parser.add_argument("--probes", type=int, default=200)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(Path(folder), arguments.checkpoints, slots=SLOTS, queue_limit=arguments.queue_limit) as cluster,
    ):
        cluster.api()
        cluster.worker(backend="auto", compile="auto", precision="auto", state_dir=load_settings().state_dir)
        cluster.until_ready(api=1, worker=1)
        rows, figures = drive(measure(cluster, arguments.queue_limit, arguments.probes))
    report("a full queue says no, under a saturated engine", rows, figures, arguments.output)


if __name__ == "__main__":
    main()
