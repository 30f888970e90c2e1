"""`hrm-train inspect`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.numbers import count, positive

if TYPE_CHECKING:  # torch and matplotlib take their time: not for --help
    from matplotlib.figure import Figure

    from training.evaluation.questions import Questions
    from training.inspection.baselines import Baseline
    from training.subject import Subject

BASELINE_STEPS = 100
COMPARED_SEGMENTS = 4
"""The other networks are as deep as HRM is in so many segments."""


def add_parser(subparsers: Any) -> None:
    """Add `inspect` to the parser of `hrm-train`."""
    parser = subparsers.add_parser("inspect", help="look into a network: pictures, and the numbers behind them")
    parser.add_argument("network", type=Path, metavar="CHECKPOINT", help="a checkpoint's directory, or a run's")
    parser.add_argument(
        "data", type=Path, nargs="?", metavar="DATA", help="a CSV file or a dataset folder (the canaries if left out)"
    )
    parser.add_argument("--split", choices=("test", "train"), default="test", help="of a folder (default test)")
    parser.add_argument("--out", type=Path, default=Path("inspection"), help="where to write (default inspection)")
    parser.add_argument("--format", choices=("svg", "png"), default="svg", help="of the pictures (default svg)")
    parser.add_argument("--sample", type=positive, default=128, metavar="N", help="puzzles to look at (default 128)")
    parser.add_argument("--boards", type=count, default=4, metavar="N", help="puzzles to draw by segment (default 4)")
    parser.add_argument(
        "--segments", type=positive, metavar="S", help="how far to look (M_max as trained, where left out)"
    )
    parser.add_argument(
        "--baseline-steps", type=count, default=BASELINE_STEPS, metavar="N",
        help=f"train the networks to compare with for N steps (default {BASELINE_STEPS}; 0: they stay random)",
    )  # fmt: skip
    parser.add_argument("--seed", type=count, default=0, help="of what is drawn at random (default 0)")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Look, write, and say what is to be seen."""
    from rich.console import Console  # noqa: PLC0415

    from training.pictures import save_numbers, save_picture  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True, markup=False)
    subject, questions = _read(parsed)
    console.print(f"{subject.name}: {len(questions)} puzzles")
    for name, numbers, figure, said in _looks(parsed, subject, questions):
        save_numbers(numbers, parsed.out / f"{name}.json")
        save_picture(figure, parsed.out / f"{name}.{parsed.format}")
        console.print(f"{parsed.out / name}.{parsed.format}" + (f": {said}" if said else ""))
    return 0


def _looks(
    parsed: argparse.Namespace, subject: Subject, questions: Questions
) -> Iterator[tuple[str, dict[str, Any], Figure, str]]:
    """Every diagnostic: its name, its numbers, its picture, and a sentence."""
    import numpy as np  # noqa: PLC0415

    from training.evaluation.evaluate import evaluate  # noqa: PLC0415
    from training.evaluation.unroll import unroll  # noqa: PLC0415
    from training.inspection import difficulty, participation, predictions, residuals, trajectories  # noqa: PLC0415

    model, segments = subject.model, parsed.segments or subject.config.halt_max_segments
    for number in range(min(parsed.boards, len(questions))):
        said = predictions.measure(model, questions.rows(np.array([number])), segments)
        yield f"prediction-{number + 1}", said, predictions.draw(subject.task, said), ""

    trajectory = unroll(
        model, subject.task, questions.puzzles, questions.answers, questions.puzzle_ids, limit=segments
    )  # fmt: skip
    by_difficulty = difficulty.measure(evaluate(subject.task, questions, trajectory))
    yield "difficulty", by_difficulty, difficulty.draw(by_difficulty), ""

    ratios = participation.measure(model, questions, segments, parsed.seed)
    yield "participation", ratios, participation.draw(ratios), participation.summary(ratios)

    baselines = _baselines(parsed, subject, questions)
    few = questions.rows(np.arange(min(32, len(questions))))
    moves = residuals.measure(model, few, segments, baselines) | {"baseline_steps": parsed.baseline_steps}
    yield "residuals", moves, residuals.draw(moves), residuals.summary(moves)

    ways = trajectories.measure(model, questions.rows(np.array([0])), segments, baselines)
    yield "trajectories", ways, trajectories.draw(ways), ""


def _read(parsed: argparse.Namespace) -> tuple[Subject, Questions]:
    import torch  # noqa: PLC0415

    from model.checkpoint import read_checkpoint  # noqa: PLC0415
    from training.errors import RunError  # noqa: PLC0415
    from training.evaluation.questions import canary_questions, read_questions  # noqa: PLC0415
    from training.run_files import RECIPE_FILE  # noqa: PLC0415
    from training.subject import load_subject  # noqa: PLC0415

    if parsed.data is None and (parsed.network / RECIPE_FILE).is_file():
        raise RunError(f"{parsed.network}: a run has no puzzles of its own to look at; name a CSV file or a dataset")
    subject = load_subject(parsed.network, torch.device("cpu"), torch.float32)
    if parsed.data is not None:
        questions = read_questions(parsed.data, subject, parsed.split)
    else:
        questions = canary_questions(subject, read_checkpoint(parsed.network).canaries())
    return subject, questions.sample(parsed.sample)


def _baselines(parsed: argparse.Namespace, subject: Subject, questions: Questions) -> list[Baseline]:
    """The networks to compare with, trained on the same puzzles."""
    from training.data.progress import progress_line  # noqa: PLC0415
    from training.inspection.baselines import Baseline, greatest_depth  # noqa: PLC0415

    depth = min(COMPARED_SEGMENTS * len(subject.model.schedule), greatest_depth(subject.config))
    baselines = []
    for kind in ("recurrent", "feed-forward"):
        baseline = Baseline(kind, subject.config, depth, parsed.seed)
        with progress_line(f"training the {kind} network") as progress:
            baseline.train(subject.task, questions, parsed.baseline_steps, parsed.seed, progress)
        baselines.append(baseline)
    return baselines
