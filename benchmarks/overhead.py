"""What everything but the network costs: API, queue and worker, with a STUB that halts at once in the network's place.

    python -m benchmarks.overhead [--requests 20000] [--callers 192] [--api-processes 1] [--segment-s 0] [--json FILE]

No figure here says how fast puzzles are solved: the stub knows one answer by heart. It says what a solved puzzle costs
beside the solving, on one machine that runs all processes and the load generator. A stub that takes no time hands
puzzles over one by one; with `--segment-s 0.01` it takes as long as a GPU does for hundreds of rows, and what halts
together is settled together. Three callers a slot keep the queue filled; with fewer (`--callers 64`) there is less to
take and to finish at a time, and a request costs more.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.cluster import Cluster
from benchmarks.common import options, report
from benchmarks.load import Run, closed_loop, drive
from benchmarks.stub import stub_registry
from model.tasks import get_task
from service.broker.config import BrokerConfig
from service.broker.front import RedisFrontBroker
from service.broker.records import Finished, JobState, NewJob
from service.broker.worker import RedisWorkerBroker
from service.ids import new_id
from service.schemas import Lane, SolveRequest

TASK = "sudoku"
PUZZLE = get_task(TASK).examples()[0][0]
BODY = {"task": TASK, "puzzle": PUZZLE}
WARM_UP = 500


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds by process."""

    api: float
    worker: float
    valkey: float
    load: float

    @classmethod
    def now(cls, cluster: Cluster) -> Cpu:
        valkey = psutil.Process(cluster.queue.pid).cpu_times()
        return cls(
            sum(node.cpu_s for node in cluster.ready("api")),
            sum(node.cpu_s for node in cluster.ready("worker")),
            valkey.user + valkey.system,
            time.process_time(),
        )

    def us_since(self, before: Cpu, requests: int) -> dict[str, float]:
        """Microseconds a request."""
        names = ("api", "worker", "valkey", "load")
        return {name: 1e6 * (getattr(self, name) - getattr(before, name)) / requests for name in names}


async def through_everything(cluster: Cluster, callers: int, requests: int) -> tuple[Run, dict[str, float]]:
    """A closed loop over HTTP, and what each process spent on a request."""
    await closed_loop(cluster.url, lambda _: BODY, callers, WARM_UP)
    before = Cpu.now(cluster)
    run = await closed_loop(cluster.url, lambda _: BODY, callers, requests)
    spent = Cpu.now(cluster).us_since(before, requests)
    wrong = {response.status for response in run.responses} - {200}
    if wrong:
        raise SystemExit(f"the run met {wrong}")
    return run, spent


async def through_the_queue_alone(cluster: Cluster, callers: int, requests: int) -> tuple[float, dict[str, float]]:
    """The same jobs without HTTP, engine and codec: both sides of the queue in this process; (jobs/s, us a job)."""
    config = BrokerConfig(cluster.queue.url, namespace="alone", queue_limit=100_000)
    front, worker = RedisFrontBroker(config, "bench"), RedisWorkerBroker(config, "bench")
    await front.start()
    request = SolveRequest.model_validate(BODY).model_dump_json().encode()
    answer = b"x" * 600
    stop = threading.Event()

    def work() -> None:
        wait_s = 0.0
        while not stop.is_set():
            claims = worker.take({TASK: 64}, wait_s=wait_s)
            worker.finish([Finished(claim.id, claim.fence, JobState.DONE, answer) for claim in claims])
            wait_s = 0.0 if claims else 0.1

    async def call() -> None:
        for _ in numbers:
            job = NewJob(new_id(), TASK, Lane.NORMAL, request, 60.0, front.reply_to, 60.0)
            await front.submit(job)
            await front.wait(job.id, 60.0)

    numbers = iter(range(requests))
    thread = threading.Thread(target=work)
    thread.start()
    before, start = Cpu.now(cluster), time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    seconds, spent = time.perf_counter() - start, Cpu.now(cluster).us_since(before, requests)
    stop.set()
    thread.join()
    worker.close()
    await front.close()
    return requests / seconds, {"clients": spent["load"], "valkey": spent["valkey"]}


def stages(run: Run) -> list[Mapping[str, object]]:
    """Where the time of one request at a time goes, by its response's own headers."""
    queued = np.array([float(response.headers["x-queue-time"]) for response in run.responses])
    solved = np.array([float(response.headers["x-inference-time"]) for response in run.responses])
    whole = np.array([response.seconds for response in run.responses])
    rows = {
        "in all": whole,
        "admitted until it has a slot": queued,
        "in the slot (the stub)": solved,
        "the rest: HTTP, checks, reply": whole - queued - solved,
    }
    return [
        {
            "stage, one request at a time": name,
            "p50 ms": float(np.median(v)) * 1e3,
            "p99 ms": float(np.quantile(v, 0.99)) * 1e3,
        }
        for name, v in rows.items()
    ]


async def measure(
    cluster: Cluster, callers: int, requests: int
) -> tuple[list[Mapping[str, object]], dict[str, object]]:
    alone, _ = await through_everything(cluster, 1, max(200, requests // 20))
    many, spent = await through_everything(cluster, callers, requests)
    per_s, queue = await through_the_queue_alone(cluster, callers, requests)
    latencies = np.array([response.seconds for response in many.responses])
    whole = spent["api"] + spent["worker"] + spent["valkey"]
    figures: dict[str, object] = {
        "requests/s through API, queue and worker": many.per_s,
        "p50 ms at that rate": float(np.median(latencies)) * 1e3,
        "p99 ms at that rate": float(np.quantile(latencies, 0.99)) * 1e3,
        **{f"CPU us a request, {name}": value for name, value in spent.items()},
        "jobs/s through the queue alone": per_s,
        "CPU us a job, the queue's clients alone": queue["clients"],
        "CPU us a job, Valkey with the queue alone": queue["valkey"],
        "share of Redis in the CPU of a request (Valkey and its clients)": (spent["valkey"] + queue["clients"]) / whole,
    }
    return stages(alone), figures


def main() -> None:
    parser = options(__doc__, checkpoints=False, file=False)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--callers", type=int, default=192)
    parser.add_argument("--api-processes", type=int, default=1)
    parser.add_argument("--segment-s", type=float, default=0.0, help="seconds that the stub takes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with Cluster(root, stub_registry(root / "registry")) as cluster:
            for _ in range(arguments.api_processes):
                cluster.api()
            cluster.stub_worker("--segment-s", str(arguments.segment_s))
            cluster.until_ready(api=arguments.api_processes, worker=1)
            rows, figures = drive(measure(cluster, arguments.callers, arguments.requests))
    setup = {"API processes": arguments.api_processes, "the network": f"a STUB of {arguments.segment_s:g} s"}
    title = f"overhead with a STUB for a network: {arguments.requests} requests, {arguments.callers} callers"
    report(title, rows, {**figures, **setup}, arguments.output)


if __name__ == "__main__":
    main()
