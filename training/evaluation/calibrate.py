"""Fits how likely an answer is exact: Platt's scaling of two numbers that a network gives with every answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration, features, sigmoid
from training.evaluation.unroll import Bools

_RIDGE = 1.0
"""Weight of the squared slopes, in puzzles: enough to keep them finite where no puzzle contradicts them."""
_MOST_STEPS = 100
_SMALL = 1e-9


def fit_calibration(
    confidence: NDArray[np.floating[Any]], q_halt: NDArray[np.floating[Any]], exact: Bools
) -> Calibration:
    """Fit on answers [n] and whether each was exact.

    Logistic regression on smoothed targets (Platt, 1999), so that a hundred right answers of a hundred do not promise
    that the next one is right. A slope that comes out below 0 is left out, and the rest is fitted again.
    """
    raw = np.stack(features(confidence, q_halt), axis=1)
    middle, spread = raw.mean(axis=0), np.maximum(raw.std(axis=0), _SMALL)
    standard = (raw - middle) / spread
    right, wrong = int(exact.sum()), int((~exact).sum())
    targets = np.where(exact, (right + 1) / (right + 2), 1 / (wrong + 2))
    used = [0, 1]
    offset, slopes = _regress(standard, targets)
    while used and slopes.min() < 0:
        del used[int(slopes.argmin())]
        offset, slopes = _regress(standard[:, used], targets)
    weights = np.zeros(2)
    weights[used] = slopes / spread[used]
    return Calibration(float(offset - weights @ middle), float(weights[0]), float(weights[1]))


def _regress(columns: NDArray[np.float64], targets: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Offset and slopes of the least log loss, by Newton's method."""
    design = np.column_stack([np.ones(len(columns)), columns])
    ridge = np.diag([_SMALL, *[_RIDGE] * columns.shape[1]])
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(targets.mean() / (1 - targets.mean()))
    loss = _loss(design, targets, ridge, weights)
    for _ in range(_MOST_STEPS):
        p = sigmoid(design @ weights)
        slope = design.T @ (p - targets) + ridge @ weights
        curvature = (design.T * (p * (1 - p))) @ design + ridge
        step = np.linalg.solve(curvature, slope)
        # Where the curve is flat a whole step leads astray: nearly all answers right, and the wrong ones far off.
        while (least := _loss(design, targets, ridge, weights - step)) > loss and np.abs(step).max() >= _SMALL:
            step /= 2
        if np.abs(step).max() < _SMALL:
            break
        weights, loss = weights - step, least
    return float(weights[0]), weights[1:]


def _loss(
    design: NDArray[np.float64], targets: NDArray[np.float64], ridge: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    """What the regression makes least: log loss over all puzzles, and the ridge."""
    x = design @ weights
    return float((np.logaddexp(0, x) - targets * x).sum() + 0.5 * weights @ ridge @ weights)
