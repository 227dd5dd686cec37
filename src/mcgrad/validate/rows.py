"""Rows of a batch that are looked at one by one, and the problem of each: its distribution and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcgrad import tree
from mcgrad.arrays import all_to_host
from mcgrad.distributions.base import Distribution
from mcgrad.engine.estimator import Estimator
from mcgrad.ir.spaces import Values
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate

MOST = 8  # rows that are looked at, unless a caller asks for others


@dataclass(frozen=True)
class OneProblem:
    """A problem by itself: all there is, or one row of a batch.

    Parameters
    ----------
    name : str
        "row 3", counted in C order; empty without a batch.
    q : Distribution
    inputs : dict of Input to array
    """

    name: str
    q: Distribution
    inputs: Values

    def named(self, component: str) -> str:
        """Return how one of its components is called in a table."""
        return f"{component}, {self.name}" if self.name else component


def averaged(
    estimator: Estimator, rows: Sequence[int], n: int, seed: int, numbers: Any = None
) -> Estimate | BatchEstimate:
    """Estimate by n draws: of a batch some rows, counted in C order; all of them with common noise.

    Parameters
    ----------
    estimator : Estimator
    rows : sequence of int
    n, seed : int
    numbers : array_like of int, optional
        The numbers of all rows.
    """
    batch = estimator.derived.batch
    return estimator(n, seed) if batch is None or batch.common_noise else estimator.of_rows(rows, n, seed, numbers)


def problems(estimator: Estimator, rows: Sequence[int]) -> list[OneProblem]:
    """Return the problems of some rows of a batch; without a batch the only one.

    Parameters
    ----------
    estimator : Estimator
    rows : sequence of int
        Places in C order.
    """
    q, batch = estimator.q, estimator.derived.batch
    if batch is None:
        return [OneProblem("", q, all_to_host(estimator.inputs.values({})))]
    values = all_to_host(estimator.inputs.rows({})[0])
    return [
        OneProblem(
            f"row {row}",
            q.template.with_params(**tree.unflatten(q.batch.row(q.flat_params, row))) if q.batch else q,
            {name: x[row] if name in batch.by_row else x for name, x in values.items()},
        )
        for row in rows
    ]
