"""The known signs that a run goes wrong, told once each with what to do. None of them ends a run by itself."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

SPAN = 20
"""Lines of the log that are looked at together: one minute's luck is no sign."""
Q_CONTINUE_LIMIT = 0.15
"""Below, the q_continue loss is no concern. A healthy one on hard puzzles may lie well above, but it does not climb."""


class _Means(NamedTuple):
    """Over the last lines of the log; `exact` and `segments` of the rows that halted."""

    token_loss: float
    continue_loss: float
    cells: float
    exact: float
    segments: float


class Alarms:
    """Looks at every line of the log and says what has become clear.

    Nothing is looked at up to `first_step`: until then puzzles become harder or the learning rate rises.
    """

    def __init__(self, max_segments: int, first_step: int) -> None:
        self.max_segments, self.first_step = max_segments, first_step
        self._lines: deque[dict[str, Any]] = deque(maxlen=SPAN)
        self._losses: deque[float] = deque(maxlen=SPAN + 1)
        self._best_exact = 0.0
        self._least_continue = float("inf")
        self._told: set[str] = set()

    def look(self, line: dict[str, Any]) -> list[str]:
        """Take the next line of the log (`Window.means`); returns the warnings that it gives rise to."""
        if line["exact"] is None or line["step"] <= self.first_step:
            return []
        self._lines.append(line)
        if len(self._lines) < SPAN:
            return []
        means = _Means(*(sum(each[name] for each in self._lines) / SPAN for name in _Means._fields))
        self._losses.append(means.token_loss)
        self._best_exact = max(self._best_exact, means.exact)
        self._least_continue = min(self._least_continue, means.continue_loss)
        signs = {
            "never halts": self._never_halts(means),
            "q_continue": self._q_continue_climbs(means),
            "plateau": self._stands_still(means),
        }
        news = {name: text for name, text in signs.items() if text and name not in self._told}
        self._told |= news.keys()
        return list(news.values())

    def _never_halts(self, means: _Means) -> str | None:
        if means.exact < 0.5 or self.max_segments == 1 or means.segments < 0.98 * self.max_segments:
            return None
        return (
            f"{means.exact:.0%} of the puzzles end right, yet hardly one ends before M_max, {self.max_segments} "
            f"segments: the q-head does not learn to halt; try model.halt_rule=halt_over_zero or a lower train.lr"
        )

    def _q_continue_climbs(self, means: _Means) -> str | None:
        climbs = means.continue_loss > max(Q_CONTINUE_LIMIT, 1.5 * self._least_continue)
        if not climbs or means.exact > 0.9 * self._best_exact:
            return None
        return (
            f"the q_continue loss climbs to {means.continue_loss:.2f} (it was {self._least_continue:.2f}) while fewer "
            f"puzzles end right, {means.exact:.0%} (it was {self._best_exact:.0%}): past its best, or unstable; the "
            f"best weights are kept: stop here, or go on with a lower train.lr"
        )

    def _stands_still(self, means: _Means) -> str | None:
        falls = len(self._losses) <= SPAN or means.token_loss < 0.995 * self._losses[0]
        if falls or self._best_exact:
            return None
        return (
            f"not one puzzle has come out right and the loss stands still, at a cell accuracy of {means.cells:.2f}: "
            f"begin with easier puzzles (data.easy_steps), or change train.lr"
        )
