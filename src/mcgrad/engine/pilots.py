"""All pilots of a plan: before a run they compute inputs of its Program, from a few draws each.

`pilot` computes baselines, `steps` the points of differences, `control_pilot` coefficients of control variates.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mcgrad.arrays import all_to_host
from mcgrad.engine.control_pilot import DEVIATION, ControlPilot
from mcgrad.engine.pilot import Pilot
from mcgrad.engine.steps import Steps
from mcgrad.engine.threads import in_order
from mcgrad.gradients.controls import Controls
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
    controls : ControlPilot or None
        Computes the coefficients of control variates, from what the others have computed.
    """

    means: Pilot | None
    steps: Steps | None
    controls: ControlPilot | None = None

    @classmethod
    def of(cls, plan: Plan, problem: Problem, wrt: Sequence[str], dtype: str, controls: Controls | None = None) -> Self:
        """Return the pilots for the methods of some parameters, and for control variates."""
        means, moved = plan.pilot(problem, wrt), plan.moved(wrt)
        return cls(
            Pilot(means, dtype) if means else None,
            Steps(problem, moved, dtype, roots=plan.moving(problem)) if moved else None,
            ControlPilot(controls) if controls else None,
        )

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.means is not None or self.steps is not None or self.controls is not None

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
        Rows are computed in tiles, always of as many, so that the bits of a row do not depend on the others. Where each
        row has its own seed, or an op has no rule for several rows, they are computed one by one.
        """
        here, means, steps, controls = all_to_host(values), self.means, self.steps, self.controls
        found: dict[Input, Any] = {}

        def of_row(row: int) -> Values:
            own = {name: x[row] if name in by_row else x for name, x in here.items()}
            return own | {name: x[row] for name, x in found.items()}

        def of_tile(start: int, size: int) -> Values:
            chosen = np.minimum(np.arange(start, start + size), rows - 1)
            own = {name: x[chosen] if name in by_row else x for name, x in here.items()}
            return own | {name: x[chosen] for name, x in found.items()}

        def in_tiles(work: Callable[[Values], Values], size: int) -> Values:
            return in_threads(lambda start: work(of_tile(start, size)), range(0, rows, size), np.concatenate)

        def in_threads(work: Callable[[int], Values], starts: Iterable[int], stack: Callable[..., Any]) -> Values:
            with closing(in_order(work, iter(starts), threads)) as parts:
                each = [part for _, part in parts]
            return {name: stack([part[name] for part in each])[:rows] for name in each[0]}

        more: dict[Input, Any] = {}
        if means and isinstance(seeds, int):
            more |= in_tiles(lambda part: means.of_tile(part, seeds), means.tile.rows)
        elif means:
            more |= in_threads(lambda row: means(of_row(row), seed_of(seeds, row)), range(rows), np.stack)
        if steps and (tile := steps.tile) and tile.rows:
            more |= in_tiles(lambda part: tile(part, by_row), tile.rows)
        elif steps:
            more |= in_threads(lambda row: steps(of_row(row)), range(rows), np.stack)
        found |= more
        if controls and isinstance(seeds, int):
            found |= in_tiles(lambda part: controls.of_tile(part, seeds), controls.tile[1])
        elif controls:
            found |= in_threads(lambda row: controls(of_row(row), seed_of(seeds, row)), range(rows), np.stack)
        found.pop(DEVIATION, None)
        return found

    def __call__(self, values: Values, seed: int) -> Values:
        """Return the inputs that they compute from the values of the others."""
        if not self:
            return {}
        here = all_to_host(values)
        found = {**(self.means(here, seed) if self.means else {}), **(self.steps(here) if self.steps else {})}
        return found | self.controls({**here, **found}, seed) if self.controls else found
