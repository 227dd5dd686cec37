"""All pilots of a plan: before a run they compute inputs of its Program, from a few draws each.

`pilot` computes baselines, `steps` the points of differences.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mcgrad.arrays import all_to_host
from mcgrad.engine.pilot import Pilot
from mcgrad.engine.steps import Steps
from mcgrad.engine.threads import in_order
from mcgrad.gradients.plan import Plan
from mcgrad.gradients.problem import Problem
from mcgrad.ir.spaces import Input, Values
from mcgrad.noise.rows import Seeds, seed_of


@dataclass(frozen=True)
class Pilots:
    """The pilots of a plan.

    Parameters
    ----------
    means : Pilot or None
        Pilot of the baselines, which are means of Vars.
    steps : Steps or None
        Chooses the points of differences.
    """

    means: Pilot | None
    steps: Steps | None

    @classmethod
    def of(cls, plan: Plan, problem: Problem, wrt: Sequence[str], dtype: str) -> Self:
        """Return the pilots for the methods of some parameters."""
        means, moved = plan.pilot(problem, wrt), plan.moved(wrt)
        return cls(Pilot(means, dtype) if means else None, Steps(problem, moved, dtype) if moved else None)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.means is not None or self.steps is not None

    def of_rows(self, values: Values, by_row: Container[Input], rows: int, seeds: Seeds, threads: int) -> Values:
        """Return the inputs that they compute in many rows, with the rows on the first axis.

        Parameters
        ----------
        values : mapping from Input to array
        by_row : container of Input
            Those of them that have the rows on the first axis.
        rows : int
            At least 1.
        seeds : int, or uint64 array of shape (rows,)
            Of all rows, or of each.
        threads : int

        Notes
        -----
        Baselines are computed in tiles of rows, always of as many, so that the bits of a row do not depend on the
        others; where each row has its own seed, and steps in any case, row by row.
        """
        here, means, steps = all_to_host(values), self.means, self.steps

        def of_row(row: int) -> Values:
            return {name: x[row] if name in by_row else x for name, x in here.items()}

        def tile(start: int) -> Values:
            assert means is not None
            chosen = np.minimum(np.arange(start, start + means.tile.rows), rows - 1)
            part = {name: x[chosen] if name in by_row else x for name, x in here.items()}
            return means.of_tile(part, seed_of(seeds, start))

        def in_threads(work: Callable[[int], Values], starts: Iterable[int], stack: Callable[..., Any]) -> Values:
            with closing(in_order(work, iter(starts), threads)) as parts:
                found = [part for _, part in parts]
            return {name: stack([part[name] for part in found])[:rows] for name in found[0]}

        found: dict[Input, Any] = {}
        if means and isinstance(seeds, int):
            found |= in_threads(tile, range(0, rows, means.tile.rows), np.concatenate)
        elif means:
            found |= in_threads(lambda row: means(of_row(row), seed_of(seeds, row)), range(rows), np.stack)
        if steps:
            steps.prepare()
            found |= in_threads(lambda row: steps(of_row(row)), range(rows), np.stack)
        return found

    def __call__(self, values: Values, seed: int) -> Values:
        """Return the inputs that they compute from the values of the others."""
        if not self:
            return {}
        here = all_to_host(values)
        return {**(self.means(here, seed) if self.means else {}), **(self.steps(here) if self.steps else {})}
