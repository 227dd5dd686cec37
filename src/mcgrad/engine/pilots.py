"""All pilots of a plan: before a run they compute inputs of its Program, from a few draws each.

`pilot` computes baselines, `steps` the points of differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from mcgrad.arrays import all_to_host
from mcgrad.engine.pilot import Pilot
from mcgrad.engine.steps import Steps
from mcgrad.gradients.plan import Plan
from mcgrad.gradients.problem import Problem
from mcgrad.ir.spaces import Values


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

    def __call__(self, values: Values, seed: int) -> Values:
        """Return the inputs that they compute from the values of the others."""
        if not self:
            return {}
        here = all_to_host(values)
        return {**(self.means(here, seed) if self.means else {}), **(self.steps(here) if self.steps else {})}
