"""What is worked out from parameters and data before a run, as inputs of its Program: by pilots of a few draws each."""

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
        What averages Vars, as baselines are made of.
    steps : Steps or None
        What chooses the points of differences.
    """

    means: Pilot | None
    steps: Steps | None

    @classmethod
    def of(cls, plan: Plan, problem: Problem, wrt: Sequence[str], dtype: str) -> Self:
        """Return what the methods of the parameters at some paths need."""
        means, moved = plan.pilot(problem, wrt), plan.moved(wrt)
        return cls(Pilot(means, dtype) if means else None, Steps(problem, moved, dtype) if moved else None)

    def __call__(self, values: Values, seed: int) -> Values:
        """Return their inputs, at values of the others."""
        if not self.means and not self.steps:
            return {}
        here = all_to_host(values)
        return {**(self.means(here, seed) if self.means else {}), **(self.steps(here) if self.steps else {})}
