"""A scripted worker: it takes jobs off the real queue and ends them as a test says. No model runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from service.broker.config import BrokerConfig
from service.broker.records import Claim, Finished, JobState
from service.broker.worker import RedisWorkerBroker
from service.problems import ProblemKind
from tests.conftest import ANSWER as SOLUTION

Script = Callable[[Claim], Finished | None]
"""How a job ends; None: it is held on to."""


class ScriptedWorker:
    """Runs in a thread of its own between `start` and `stop`."""

    def __init__(self, config: BrokerConfig, tasks: list[str], worker_id: str = "scripted") -> None:
        self.broker = RedisWorkerBroker(config, worker_id)
        self.script: Script = solved
        self.seen: list[Claim] = []
        self.held: list[Claim] = []
        self.cancelled: list[str] = []
        self._tasks = tasks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="scripted-worker")

    def start(self, *, warm: bool = True) -> None:
        loaded = {"checkpoint": "sudoku/scripted", "warm": warm, "slots": 64}
        self.broker.announce({"tasks": dict.fromkeys(self._tasks, loaded), "device": "script"})
        self._thread.start()

    def stop(self) -> None:
        """Retire and end; what is held stays held."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
            self.broker.retire()
        self.broker.close()

    def _work(self) -> None:
        while not self._stop.is_set():
            claims = self.held + self.broker.take(dict.fromkeys(self._tasks, 64 - len(self.held)))
            self.seen += claims[len(self.held) :]
            revoked = self.broker.renew(claims)
            self.cancelled += revoked.cancelled
            ours = [claim for claim in claims if claim.id not in (*revoked.cancelled, *revoked.lost)]
            endings = {claim.id: self.script(claim) for claim in ours}
            self.broker.finish([ending for ending in endings.values() if ending is not None])
            self.held = [claim for claim in ours if endings[claim.id] is None]
            self._stop.wait(0.005)


def answer(claim: Claim, **changes: Any) -> dict[str, Any]:
    """The answer to a claim, always the same solution."""
    puzzle = json.loads(claim.request)["puzzle"]
    grid = [[int(digit) for digit in SOLUTION[row * 9 : row * 9 + 9]] for row in range(9)]
    return {
        "id": claim.id,
        "task": claim.task,
        "checkpoint": "sudoku/scripted",
        "solution": SOLUTION if isinstance(puzzle, str) else grid,
        "valid": True,
        "halted_by": "act",
        "segments": 3,
        "total_segments": 3,
        "confidence": 0.998,
        "q_halt": 4.1,
        "q_continue": -3.7,
        "timing": {"queue_s": claim.waited_s, "solve_s": 0.021},
        **changes,
    }


def solved(claim: Claim) -> Finished:
    """Every puzzle is solved at once."""
    return Finished(claim.id, claim.fence, JobState.DONE, json.dumps(answer(claim)).encode())


def held(_: Claim) -> None:
    """Every puzzle is held on to."""


def failed(kind: ProblemKind, **extra: Any) -> Script:
    """Every puzzle fails so."""

    def script(claim: Claim) -> Finished:
        problem = kind.problem("as the script says", **extra)
        return Finished(claim.id, claim.fence, JobState.FAILED, problem.model_dump_json(exclude_none=True).encode())

    return script
