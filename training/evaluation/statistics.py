"""Shares with their confidence intervals, and how far probabilities can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054
"""Of a 95 % interval."""
BINS = 10


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many."""

    count: int
    total: int

    @classmethod
    def of(cls, hits: NDArray[np.bool_]) -> Share:
        """The share of true values."""
        return cls(int(hits.sum()), hits.size)

    @property
    def value(self) -> float:
        """Between 0 and 1; 0 of 0 is 0."""
        return self.count / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval (JASA 1927): unlike the usual one it holds near 0 and 1, too."""
        if not self.total:
            return 0.0, 1.0
        n, p, z = self.total, self.value, _Z
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"value": self.value, "interval": list(self.interval), "count": self.count, "of": self.total}

    def __str__(self) -> str:
        return f"{self.value:.1%}"


@dataclass(frozen=True, slots=True)
class Reliability:
    """Predicted probabilities in equal bins, against what happened (Guo et al., arXiv 1706.04599).

    Attributes:
        counts: predictions in each bin, [BINS].
        predicted, observed: their mean, and the share that came true, [BINS]; 0 where a bin is empty.
    """

    counts: list[int]
    predicted: list[float]
    observed: list[float]

    @classmethod
    def of(cls, probabilities: NDArray[np.floating[Any]], outcomes: NDArray[np.bool_]) -> Reliability:
        """Of predictions and whether they came true, both of any one shape."""
        p, hits = probabilities.ravel().astype(np.float64), outcomes.ravel().astype(np.float64)
        which = np.minimum((p * BINS).astype(np.int64), BINS - 1)
        counts = np.bincount(which, minlength=BINS)
        predicted, observed = (
            np.bincount(which, weights, BINS) / np.maximum(counts, 1) for weights in (p, hits)
        )  # fmt: skip
        return cls(counts.tolist(), predicted.tolist(), observed.tolist())

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of predicted and observed, over all predictions."""
        total = max(1, sum(self.counts))
        return sum(n * abs(p - o) for n, p, o in zip(self.counts, self.predicted, self.observed, strict=True)) / total

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "expected_calibration_error": self.error,
            "bins": [
                {"from": i / BINS, "to": (i + 1) / BINS, "count": n, "predicted": p, "observed": o}
                for i, (n, p, o) in enumerate(zip(self.counts, self.predicted, self.observed, strict=True))
            ],
        }
