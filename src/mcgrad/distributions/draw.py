"""A traced draw: its value, for the integrand, and its coordinates, for log densities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.ir.build import as_var, reduce
from mcgrad.ir.program import Var
from mcgrad.trace.trace import trace


class Draw:
    """One draw, as trees of Vars.

    Parameters
    ----------
    z : tree of Var
        Its value.
    coordinates : callable, optional
        Returns its coordinates, a tree of Var, in the chart of its own distribution; called where a density is read.
        None where only the value is known.
    """

    def __init__(self, z: Any, coordinates: Callable[[], Any] | None = None) -> None:
        self.z, self._make = z, coordinates

    @cached_property
    def coordinates(self) -> Any:
        """The coordinates, or None."""
        return self._make() if self._make else None

    def part(self, name: str) -> Draw:
        """Return the draw of a part of a Joint."""
        return Draw(self.z[name], (lambda: self.coordinates[name]) if self._make else None)

    def log_density(self, q: Distribution, own: Distribution, params: Mapping[str, Var]) -> Var:
        """Return the log density of a distribution at the draw: at its coordinates, where the chart is the same.

        Parameters
        ----------
        q : Distribution
        own : Distribution
            The distribution of the draw.
        params : dict of str to Var
            The parameters of q, by dotted path.
        """
        named = tree.unflatten(params) if params else {}
        if self._make and q.chart == own.chart:
            found = as_var(trace(q.log_density, (self.coordinates,), named))
        else:
            found = as_var(trace(q.log_prob, (self.z,), named))
        return found if not found.shape else reduce("sum", found, range(len(found.shape)))
