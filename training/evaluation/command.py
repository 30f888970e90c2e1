"""`hrm-train eval`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from training.numbers import positive


def add_parser(subparsers: Any) -> None:
    """Add `eval` to the parser of `hrm-train`."""
    parser = subparsers.add_parser("eval", help="judge a network on puzzles with known answers")
    parser.add_argument("network", type=Path, metavar="CHECKPOINT", help="a checkpoint's directory, or a run's")
    parser.add_argument("data", type=Path, metavar="DATA", help="a CSV file or a dataset folder")
    parser.add_argument("--split", choices=("test", "train"), default="test", help="of a folder (default test)")
    parser.add_argument(
        "--sample", type=positive, metavar="N", help="judge N puzzles drawn at random (ARC: all images of N tasks)"
    )
    parser.add_argument("--max-segments", type=positive, metavar="M", help="M_max (as trained, where left out)")
    parser.add_argument(
        "--segments", type=positive, metavar="S", help="how far to run without halting (default 4 x M_max; ARC: M_max)"
    )
    parser.add_argument("--batch", type=positive, default=256, help="puzzles at a time (default 256)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "auto"), help="default fp32")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Judge and print."""
    from rich.console import Console  # noqa: PLC0415 (torch and rich take their time: not for --help)

    from model.device import pick_device, pick_dtype  # noqa: PLC0415
    from training.data.progress import progress_line  # noqa: PLC0415
    from training.evaluation.evaluate import evaluate  # noqa: PLC0415
    from training.evaluation.questions import read_questions  # noqa: PLC0415
    from training.evaluation.show import show  # noqa: PLC0415
    from training.evaluation.unroll import unroll  # noqa: PLC0415
    from training.subject import load_subject  # noqa: PLC0415

    device = pick_device(parsed.device)
    dtype = pick_dtype(parsed.precision, device)
    subject = load_subject(parsed.network, device, dtype)
    questions = read_questions(parsed.data, subject, parsed.split)
    if parsed.sample:
        questions = questions.sample(parsed.sample)
    limit = parsed.max_segments or subject.config.halt_max_segments
    with progress_line(f"solving {len(questions)} puzzles") as progress:
        trajectory = unroll(
            subject.model,
            subject.task,
            questions.puzzles,
            questions.answers,
            questions.puzzle_ids,
            limit=limit,
            segments=parsed.segments or (limit if questions.names is not None else 4 * limit),
            batch_size=parsed.batch,
            dtype=dtype,
            progress=lambda done: progress(done, len(questions)),
        )
    evaluation = evaluate(subject.task, questions, trajectory, subject.calibration)
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=200)
    if parsed.json:
        facts = {"network": subject.name, "data": str(parsed.data), "sample": parsed.sample, **evaluation.to_dict()}
        console.print(json.dumps(facts, indent=2), soft_wrap=True, markup=False, emoji=False)
    else:
        show(evaluation, console)
    return 0
