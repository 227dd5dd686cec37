"""Average the Program of a batch with common noise, as one problem, and take the moments of rows from the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcgrad.backends.base import Partial
from mcgrad.engine.averager import Averager
from mcgrad.engine.call import Call, PartOfDraws
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.dispatch import Dispatched
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.row_epilogue import Finished
from mcgrad.engine.shard import Shard
from mcgrad.gradients.common_noise import DIFFERENCES, TOTAL, TOTAL_COVARIANCE
from mcgrad.inputs.batch import Batch
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Values
from mcgrad.moments import Float64Array, Moments
from mcgrad.results.components import COVARIANCE, VALUE, WEIGHT, Components
from mcgrad.results.row_moments import RowMoments


@dataclass(frozen=True)
class Together:
    """Moments of what is taken of all rows in each draw.

    Parameters
    ----------
    total : Moments
        Of the sum of the values, and of what its covariance is made of.
    differences : Moments
        Of the differences of values between pairs of rows.
    """

    total: Moments
    differences: Moments


class CommonMoments:
    """Takes the moments of rows from those of all components.

    Parameters
    ----------
    program : Program
        Of the batch with common noise; only the paths and the shapes of its outputs are read.
    rows : int
    layout : (Components, Components)
        Of what is by row, and of the sums over the rows.

    Attributes
    ----------
    random : bool array
        Which components of the outputs by row differ from draw to draw.
    """

    def __init__(self, program: Program, rows: int, layout: tuple[Components, Components]) -> None:
        self._rows = rows
        self._components, self._over_rows = layout
        self._slices = {out.path: where for out, where in zip(program.outputs, program.slices(), strict=True)}
        further = {COVARIANCE: self._components.covariance, WEIGHT: self._components.weighted}
        self._by_row = [VALUE, *self._components.slices, *(path for path, there in further.items() if there)]
        self._summed = [*self._over_rows.slices]
        differ = np.concatenate([np.full(out.var.size, out.var.by_draw) for out in program.outputs])
        self.random = self._columns(differ)[0]

    def __call__(self, partial: Partial) -> tuple[Finished, Together]:
        """Return the moments of the rows, and of what is taken of all of them; parameters are of all components."""
        moments = partial.moments
        finished = Finished(self._of_rows(moments), np.full(self._rows, partial.nonfinite, np.int64))
        return finished, Together(self._parts(moments, TOTAL, TOTAL_COVARIANCE), self._parts(moments, DIFFERENCES))

    def _parts(self, moments: Moments, *paths: str) -> Moments:
        """Return the moments of some outputs, those of them that there are."""
        found = [self._slices[path] for path in paths if path in self._slices] or [slice(0)]
        mean, norm = (np.concatenate([x[where] for where in found]) for x in (moments.mean, moments.norm))
        return Moments(moments.count, mean, norm)

    def _columns(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what is by row of all components: of shape (rows, components of a row)."""
        return np.concatenate([x[self._slices[path]].reshape(self._rows, -1) for path in self._by_row], axis=1)

    def _of_rows(self, moments: Moments) -> RowMoments:
        rows, components = self._rows, self._components

        def sums(x: Float64Array) -> Float64Array:
            return np.concatenate([x[:0], *(x[self._slices[path]] for path in self._summed)])

        means, norms = self._columns(moments.mean), self._columns(moments.norm)
        totals, variances = sums(moments.mean), np.square(sums(moments.stderr))
        bad = ~np.isfinite(means[:, components.values])
        spoiled = components.derivatives_of(bad)
        means[spoiled] = norms[spoiled] = np.nan
        lost = self._over_rows.derivatives_of(np.logical_or.reduce(bad, axis=0))[self._over_rows.derivatives]
        totals[lost] = variances[lost] = np.nan
        degrees = np.full(len(totals), max(moments.count - 1.0, 0.0))
        return RowMoments(np.full(rows, moments.count, np.int64), means, norms, totals, variances, degrees)


class CommonNoise:
    """Averages a batch whose rows read the same draws.

    Parameters
    ----------
    derived : Derivation
        Of a batch with common noise.
    batch : Batch
    layout : (Components, Components)
        Of what is by row, and of the sums over the rows.
    dispatched : Dispatched
    omit : bool
        Whether draws with a non-finite output are left out: of all rows.
    threads : int, optional

    Attributes
    ----------
    random : bool array
        Which components of the outputs by row differ from draw to draw.
    """

    def __init__(
        self,
        derived: Derivation,
        batch: Batch,
        layout: tuple[Components, Components],
        dispatched: Dispatched,
        omit: bool,
        threads: int | None,
    ) -> None:
        self._moments = CommonMoments(derived.program, batch.size, layout)
        self.random = self._moments.random
        complete = CommonFinisher(derived.program, derived.q.template.free)
        self._average = Averager(dispatched, complete, derived.groups, omit, threads)

    def __call__(self, values: Values, call: Call) -> tuple[Finished, Together, float, str]:
        """Average over the draws of a call, the same for all rows.

        Returns
        -------
        finished : Finished
            The moments of the rows, and the numbers of draws that were not finite, which are the same for all.
        together : Together
        seconds : float
        backend : str
        """
        partial, seconds, backend = self._average(values, call)
        return *self._moments(partial), seconds, backend

    def part(self, call: Call, shard: Shard) -> PartOfDraws:
        """Return which draws of a call a shard has."""
        return self._average.part(call, shard)

    def resumes(self, call: Call) -> bool:
        """Return whether a run goes on from the state of a call."""
        return self._average.resumes(call)


class CommonFinisher(Finisher):
    """Completes moments without a rule for values that are not finite, which differ by row."""

    def estimate(self, partial: Partial, inputs: Values, omit: bool) -> Partial:
        """Return the moments of all outputs."""
        return Partial(self(partial.moments, inputs), partial.nonfinite)
