"""An engine with a scripted runner and a clock that is moved by hand."""

from collections import deque
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from model.checkpoint import CheckpointInfo
from model.tasks import get_task
from service.engine.loop import Engine
from service.engine.runner import Readback
from service.engine.table import Table
from service.engine.work import Work
from service.schemas import SolveRequest

SUDOKU = get_task("sudoku")
PUZZLE = SUDOKU.examples()[0][0]
TOKENS = SUDOKU.parse(PUZZLE)


def work(
    name, segments=1, *, low=1, high=16, deadline=float("inf"), arrived=0.0, trace=False, task="sudoku", delivery=0
):
    """Work that the scripted runner halts after `segments`."""
    tokens = TOKENS.copy()
    tokens[0] = segments  # the script's message to the runner
    return Work(
        id=name, request=SolveRequest(task=task, puzzle=PUZZLE, trace=trace), info=checkpoint(task), tokens=tokens,
        predicted=np.ones(81, bool), min_segments=low, max_segments=high, deadline=deadline, arrived=arrived,
        delivery=delivery,
    )  # fmt: skip


@cache
def checkpoint(task="sudoku", version="1"):
    """What a checkpoint says of itself; there is none on disk."""
    architecture = {"vocab_size": 11, "seq_len": 81}
    config = {"task": SUDOKU.describe(), "architecture": architecture}
    return CheckpointInfo(task, version, Path(task) / version, config)


class ScriptedRunner:
    """Halts a puzzle after the number of segments that its first token says. Scripted: there is no network."""

    def __init__(self, size, device_s=1.0):
        self.size, self.device_s = size, device_s
        self.tokens = np.zeros((size, 81), np.uint8)
        self.left = np.zeros(size, int)
        self.launched = []
        self.poisoned = set()

    def admit(self, admission):
        self.tokens[admission.slots] = admission.tokens
        self.left[admission.slots] = np.minimum(admission.tokens[:, 0], admission.max_segments)

    def launch(self, slots):
        self.launched.append(slots.tolist())

    def collect(self):
        slots = np.array(self.launched[-1])
        self.left[slots] -= 1
        halted = self.left[slots] <= 0
        q = np.where(halted, 1.0, -1.0).astype(np.float32)
        q[np.isin(slots, list(self.poisoned))] = np.nan
        zeros = np.zeros(len(slots), np.float32)
        return Readback(
            self.tokens[slots].copy(), halted, halted, q, -q, zeros + 0.5, zeros, zeros, len(slots), self.device_s
        )

    def describe(self):
        return {"backend": "scripted"}


@dataclass
class ListSource:
    """Work from a list; outcomes into a list."""

    waiting: deque = field(default_factory=deque)
    outcomes: list = field(default_factory=list)
    gone: set = field(default_factory=set)
    moved: list = field(default_factory=list)
    between: list = field(default_factory=list)
    leases: set = field(default_factory=set)

    def poll(self, room):
        left = {task: r.wanted for task, r in room.items()}
        works = []
        for w in list(self.waiting):
            if left.get(w.task, 0) > 0:
                left[w.task] -= 1
                self.waiting.remove(w)
                works.append(w)
        self.leases |= {w.key for w in works}
        return works

    def revoked(self):
        gone, self.gone = self.gone, set()
        self.leases -= gone
        return gone

    def publish(self, outcomes):
        self.outcomes += outcomes
        self.leases -= {o.work.key for o in outcomes}

    def leased(self):
        return self.leases

    def advanced(self, running, waiting):
        self.moved.append([w.id for w in running])
        self.between.append([w.id for w in waiting])

    def wait(self, timeout_s):
        pass


class Notes:
    """An observer that writes everything down."""

    def __init__(self):
        self.segments, self.rounds, self.gone, self.violations = [], [], [], []

    def segment(self, segment):
        self.segments.append(segment)

    def retired(self, table):
        self.gone.append(table)

    def alive(self, live):
        self.rounds.append(live)

    def violation(self, what):
        self.violations.append(what)


class Bench:
    """An engine with everything around it in reach."""

    def __init__(self, *sizes, names=("sudoku", "other"), device_s=(1.0, 1.0), strict=True):
        self.now = 0.0
        self.source, self.notes = ListSource(), Notes()
        self.runners = [ScriptedRunner(size, cost) for size, cost in zip(sizes, device_s, strict=False)]
        self.tables = [Table(checkpoint(name), r) for name, r in zip(names, self.runners, strict=False)]
        self.engine = Engine(self.source, self.notes, lambda: self.now, strict=strict)
        for table in self.tables:
            self.engine.install(table)

    def tick(self, times=1):
        for _ in range(times):
            self.now += 1.0
            self.engine.tick()

    def give(self, *works):
        self.source.waiting.extend(works)

    def ended(self):
        return {o.work.id: o for o in self.source.outcomes}
