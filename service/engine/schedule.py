"""Which table runs next: deficit round robin over measured device time."""

from __future__ import annotations

from collections.abc import Sequence

from service.engine.table import Table


class DeficitRoundRobin:
    """Gives every busy table the same device time, whatever one of its segments costs.

    Each table has a balance. The one with the most credit runs; what a segment cost is taken from its
    balance and shared out among all that want to run. A table that was idle starts level with the others,
    so it cannot save up time.
    """

    def __init__(self) -> None:
        self._balance: dict[Table, float] = {}

    def pick(self, busy: Sequence[Table]) -> Table | None:
        """The table to run next, or None where none is busy."""
        self._balance = {table: self._balance.get(table, 0.0) for table in busy}
        return max(busy, key=self._balance.__getitem__, default=None)

    def charge(self, table: Table, device_s: float) -> None:
        """Account for a segment of `table`."""
        if table not in self._balance:
            return
        self._balance[table] -= device_s
        share = device_s / len(self._balance)
        for other in self._balance:
            self._balance[other] += share
