"""How likely an answer is exact, from what the network says: fitted on held-out puzzles, kept in the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_EDGE = 1e-6
"""A confidence nearer to 0 or 1 counts as this near: rounding, not knowledge, tells them apart."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probability = sigmoid(offset + by_confidence * logit(confidence) + by_q_halt * q_halt).

    No weight is below 0: an answer that the network is surer of is never called less likely.
    """

    offset: float
    by_confidence: float
    by_q_halt: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) not in (int, float) or not isfinite(value):
                raise ValueError(f"{field.name} must be a number, not {value!r}")
        if self.by_confidence < 0 or self.by_q_halt < 0:
            raise ValueError("by_confidence and by_q_halt must not be below 0")

    def probability(self, confidence: ArrayLike, q_halt: ArrayLike) -> NDArray[np.float64]:
        """The probability that an answer is exact.

        Args:
            confidence: mean probability of the tokens chosen for the predicted cells, of any one shape.
            q_halt: what the Q-head says of stopping there, of the same shape.
        """
        confidences, halting = features(confidence, q_halt)
        return sigmoid(self.offset + self.by_confidence * confidences + self.by_q_halt * halting)

    @classmethod
    def from_dict(cls, values: object) -> Calibration:
        """What `to_dict` gave; raises ValueError for anything else (it comes from a file)."""
        if not isinstance(values, Mapping):
            raise ValueError(f"calibration: expected an object, not {values!r}")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"calibration: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """For config.json."""
        return asdict(self)


def features(confidence: ArrayLike, q_halt: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two numbers that are weighed: logit(confidence) and q_halt."""
    sure = np.clip(np.asarray(confidence, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.log(sure / (1 - sure)), np.asarray(q_halt, dtype=np.float64)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without overflow at either end."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)
