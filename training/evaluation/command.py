"""`hrm-train eval`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import RunError
from training.numbers import count, positive, positives

if TYPE_CHECKING:  # torch takes its time: not for --help
    import torch
    from rich.console import Console

    from training.evaluation.questions import Questions
    from training.subject import Subject

MODES = ("act", "fixed", "verified")


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
        "--segments", type=positives, metavar="S,S",
        help="how far to run without halting (default 4 x M_max; ARC: M_max); with --modes: limits of one attempt "
        "(default M_max, 2 x and 4 x M_max)",
    )  # fmt: skip
    parser.add_argument(
        "--modes", type=_modes, metavar="MODE,MODE",
        help="say instead what accuracy costs: act (one attempt, ended by the q-head), fixed (one attempt of exactly "
        "so many segments), verified (an attempt ends when the checker accepts, else another one follows)",
    )  # fmt: skip
    parser.add_argument(
        "--attempts", type=positives, metavar="N,N", help="numbers of attempts in mode verified (default 1,2,4,8)"
    )
    parser.add_argument("--seed", type=count, default=0, help="of the attempts' symmetries (default 0)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="with --modes: draw it, as .svg or .png")
    parser.add_argument("--batch", type=positive, default=256, help="puzzles at a time (default 256)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "auto"), help="default fp32")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Judge and print."""
    from rich.console import Console  # noqa: PLC0415 (torch and rich take their time: not for --help)

    from model.device import pick_device, pick_dtype  # noqa: PLC0415
    from training.evaluation.questions import read_questions  # noqa: PLC0415
    from training.subject import load_subject  # noqa: PLC0415

    _refuse_pointless(parsed)
    device = pick_device(parsed.device)
    dtype = pick_dtype(parsed.precision, device)
    subject = load_subject(parsed.network, device, dtype)
    questions = read_questions(parsed.data, subject, parsed.split)
    if parsed.sample:
        questions = questions.sample(parsed.sample)
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=200)
    judge = _price if parsed.modes else _judge
    numbers = judge(parsed, subject, questions, dtype, None if parsed.json else console)
    if parsed.json:
        facts = {"network": subject.name, "data": str(parsed.data), "sample": parsed.sample, **numbers}
        console.print(json.dumps(facts, indent=2), soft_wrap=True, markup=False, emoji=False)
    return 0


def _judge(
    parsed: argparse.Namespace, subject: Subject, questions: Questions, dtype: torch.dtype, console: Console | None
) -> dict[str, Any]:
    """Everything about one attempt."""
    from training.evaluation.evaluate import evaluate  # noqa: PLC0415
    from training.evaluation.show import show  # noqa: PLC0415

    limit = parsed.max_segments or subject.config.halt_max_segments
    farthest = max(parsed.segments) if parsed.segments else limit if questions.names is not None else 4 * limit
    said = _unroll(subject, questions, limit, farthest, parsed.batch, dtype)
    evaluation = evaluate(subject.task, questions, said, subject.calibration)
    if console:
        show(evaluation, console)
    return evaluation.to_dict()


def _price(
    parsed: argparse.Namespace, subject: Subject, questions: Questions, dtype: torch.dtype, console: Console | None
) -> dict[str, Any]:
    """What accuracy costs."""
    from training.data.progress import progress_line  # noqa: PLC0415
    from training.evaluation.attempts import Budget, attempt  # noqa: PLC0415
    from training.evaluation.price import price_attempts, price_one_attempt, refuse_modes  # noqa: PLC0415
    from training.evaluation.price_show import draw_prices, show_prices  # noqa: PLC0415

    refuse_modes(parsed.modes, subject.task, questions)
    trained = subject.config.halt_max_segments
    limits = parsed.segments or [trained, 2 * trained, 4 * trained]
    numbers = parsed.attempts or [1, 2, 4, 8]
    prices = []
    if single := [mode for mode in parsed.modes if mode != "verified"]:
        said = _unroll(subject, questions, max(limits), max(limits), parsed.batch, dtype)
        for mode in single:
            prices += price_one_attempt(mode, limits, said, questions.sources)
    if "verified" in parsed.modes:
        budget = Budget(max(numbers), limits, parsed.seed)
        puzzles, answers = questions.puzzles, questions.answers
        with progress_line(f"trying {len(questions)} puzzles") as progress:
            made = attempt(
                subject.model, subject.task, puzzles, answers, budget, batch_size=parsed.batch, dtype=dtype,
                progress=progress,
            )  # fmt: skip
        prices += price_attempts(numbers, limits, made, questions.sources)
    if parsed.picture:
        draw_prices(prices, parsed.picture, f"{subject.name}: the price of accuracy")
    if console:
        show_prices(prices, console)
    return {"puzzles": len(questions), "seed": parsed.seed, "prices": [price.to_dict() for price in prices]}


def _unroll(
    subject: Subject, questions: Questions, limit: int, segments: int, batch_size: int, dtype: torch.dtype
) -> Any:
    from training.data.progress import progress_line  # noqa: PLC0415
    from training.evaluation.unroll import unroll  # noqa: PLC0415

    with progress_line(f"solving {len(questions)} puzzles") as progress:
        return unroll(
            subject.model, subject.task, questions.puzzles, questions.answers, questions.puzzle_ids,
            limit=limit, segments=segments, batch_size=batch_size, dtype=dtype,
            progress=lambda done: progress(done, len(questions)),
        )  # fmt: skip


def _refuse_pointless(parsed: argparse.Namespace) -> None:
    """Raise RunError for options that would have no effect."""
    if parsed.modes and parsed.max_segments:
        raise RunError("--max-segments: with --modes, --segments says how long an attempt may be")
    if parsed.attempts and "verified" not in (parsed.modes or ()):
        raise RunError("--attempts: there is more than one attempt in --modes verified alone")
    if parsed.picture:
        if not parsed.modes:
            raise RunError("--picture: there is nothing to draw without --modes")
        if parsed.picture.suffix not in (".svg", ".png"):
            raise RunError(f"--picture: {parsed.picture} must end in .svg or .png")


def _modes(text: str) -> list[str]:
    modes = list(dict.fromkeys(text.split(",")))
    for mode in modes:
        if mode not in MODES:
            raise argparse.ArgumentTypeError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")
    return modes
