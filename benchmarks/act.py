"""Fixed compute against ACT with the same checkpoint: what stopping early saves, and what more segments bring.

    python -m benchmarks.act [--file PUZZLES.csv] [--source bug_n] [--puzzles 1000] [--most 64] [--json FILE]

Every puzzle runs `--most` segments once. What it says after M segments is the answer of fixed compute; what it said at
the first segment whose Q-head would halt, or at M, is the answer of ACT with M_max = M. Without a file the puzzles are
symmetries of the checkpoint's canaries.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import options, origin, pairs, report, shipped, turned, works
from benchmarks.ways import admit
from model.tasks import Tokens
from service.engine.load import Loader
from service.engine.runner import Runner
from service.engine.work import Work
from service.settings import load_settings


def unroll(
    runner: Runner, queue: list[Work], answers: list[Tokens], most: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each answer is exact and whether the Q-head would halt, both [puzzles, most], segment by segment."""
    exact, willing = (np.zeros((len(queue), most), dtype=bool) for _ in range(2))
    for first in range(0, len(queue), runner.size):
        batch = queue[first : first + runner.size]
        rows, right = slice(first, first + len(batch)), np.stack(answers[first : first + len(batch)])
        admit(runner, [replace(work, min_segments=most, max_segments=most) for work in batch])
        for segment in range(most):
            runner.launch(np.arange(len(batch)))
            said = runner.collect()
            exact[rows, segment] = (said.tokens == right).all(axis=1)
            willing[rows, segment] = said.willing
    return exact, willing


def row(exact: NDArray[np.bool_], willing: NDArray[np.bool_], most: int) -> dict[str, object]:
    """Fixed compute of `most` segments beside ACT with M_max = `most`."""
    wants = willing[:, :most].copy()
    wants[:, -1] = True
    halt = wants.argmax(axis=1)
    by_act = exact[np.arange(len(exact)), halt].mean()
    return {
        "M_max": most,
        "fixed: exact %": 100 * float(exact[:, most - 1].mean()),
        "ACT: exact %": 100 * float(by_act),
        "fixed: segments": most,
        "ACT: mean segments": float(halt.mean() + 1),
        "segments saved %": 100 * float(1 - (halt.mean() + 1) / most),
        "halted by M_max %": 100 * float((~willing[:, :most].any(axis=1)).mean()),
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--puzzles", type=int, default=1000)
    parser.add_argument("--most", type=int, default=64)
    parser.add_argument("--slots", type=int, default=64)
    arguments = parser.parse_args()
    info = shipped(arguments.task, arguments.checkpoints)
    found = pairs(info, arguments.file, arguments.source)
    asked = found[: arguments.puzzles] if arguments.file else turned(info, found, arguments.puzzles)
    runner = Loader(load_settings(slots=arguments.slots)).load(info).runner
    queue, answers = works(info, [puzzle for puzzle, _ in asked]), [answer for _, answer in asked]
    exact, willing = unroll(runner, queue, answers, arguments.most)
    budgets = [m for m in (1, 2, 4, 8, 16, 32, 64, 128, 256) if m < arguments.most] + [arguments.most]
    figures = {
        "puzzles": len(asked),
        "of": arguments.file.name if arguments.file else origin(arguments),
        "trained with M_max": info.max_segments,
        "checkpoint": info.name,
        **runner.describe(),
    }
    report("fixed compute against ACT", [row(exact, willing, m) for m in budgets], figures, arguments.output)


if __name__ == "__main__":
    main()
