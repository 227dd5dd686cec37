"""What a multilevel run may still take: limits to the cost of all draws, and to the time of the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mcgrad.moments import Float64Array
from mcgrad.results.multilevel_estimate import COST, SECONDS
from mcgrad.results.multilevel_rule import MultilevelRule

LEAST = 0.02  # of the cost so far, that further draws have to be worth

Numbers = NDArray[np.int64]


@dataclass
class Limits:
    """The limits of a run, from its start on.

    Parameters
    ----------
    rule : MultilevelRule
    clock : callable
        Seconds.
    """

    rule: MultilevelRule
    clock: Callable[[], float] = time.perf_counter
    _since: float = field(init=False)
    _before: float | None = field(init=False, default=None)  # cost of the draws of earlier calls

    def __post_init__(self) -> None:
        self._since = self.clock()

    def begin(self, cost: float) -> None:
        """Note the cost of draws that an earlier run has made."""
        if self._before is None:
            self._before = cost

    def room(self, done: float) -> dict[str, float]:
        """Return how much more cost each limit leaves, by name; `done` is that of the draws so far."""
        found = {}
        if self.rule.max_cost is not None:
            found[COST] = self.rule.max_cost - done
        if self.rule.max_seconds is not None:
            spent, own = self.clock() - self._since, done - (self._before or 0.0)
            left = self.rule.max_seconds - spent
            found[SECONDS] = left * own / spent if spent > 0 and own > 0 else np.copysign(np.inf, left)
        return found

    def refuse(self, done: float, more: float) -> str:
        """Return the limit that so much more cost would exceed; nothing if none."""
        return next((name for name, room in self.room(done).items() if more > room), "")

    def fitted(self, wanted: Numbers, done: Numbers, costs: Float64Array, whole: bool) -> tuple[Numbers, str]:
        """Return how many draws the levels may have at once, and the limit that allows no more; nothing if none does.

        Parameters
        ----------
        wanted, done : int array, shape (levels,)
        costs : array, shape (levels,)
            Of one draw.
        whole : bool
            Whether draws are points, which come all or none.
        """
        more = np.maximum(wanted - done, 0)
        cost, spent = float(more @ costs), float(done @ costs)
        for name, room in self.room(spent).items():
            if cost > room:
                share = max(room, 0.0) / cost
                fewer = np.floor(share * more).astype(np.int64)
                if whole or float(fewer @ costs) < LEAST * spent:
                    return done, name
                more, cost = fewer, float(fewer @ costs)
        return done + more, ""
