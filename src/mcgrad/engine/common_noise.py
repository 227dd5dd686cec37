"""Average the Program of a batch with common noise, as one problem, and take the moments of rows from the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Partial
from mcgrad.engine.averager import Averager
from mcgrad.engine.call import Call
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.dispatch import Dispatched
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.row_epilogue import Finished
from mcgrad.gradients.common_noise import DIFFERENCES, TOTAL
from mcgrad.inputs.batch import Batch
from mcgrad.ir.spaces import Values, param
from mcgrad.moments import Moments
from mcgrad.results.row_moments import RowMoments


@dataclass(frozen=True)
class Together:
    """Moments of what is taken of all rows in each draw.

    Parameters
    ----------
    total : Moments
        Of the sum of the values.
    differences : Moments
        Of the differences of values between pairs of rows.
    """

    total: Moments
    differences: Moments


class CommonNoise:
    """Averages a batch whose rows read the same draws.

    Parameters
    ----------
    derived : Derivation
        Of a batch with common noise.
    batch : Batch
    dispatched : Dispatched
    omit : bool
        Whether draws with a non-finite output are left out: of all rows.
    threads : int, optional
    """

    def __init__(
        self, derived: Derivation, batch: Batch, dispatched: Dispatched, omit: bool, threads: int | None
    ) -> None:
        self._program, self._rows = derived.program, batch.size
        free = derived.q.template.free
        summed = {path for path in derived.components.shapes if batch.sums(param(path))}
        masks = {
            path: mask if path in summed else np.broadcast_to(mask, (batch.size, *mask.shape))
            for path, mask in free.items()
        }
        self._slices = {
            out.path: where for out, where in zip(self._program.outputs, self._program.slices(), strict=True)
        }
        self._by_row = [path for path in derived.components.shapes if path not in summed]
        self._summed = [path for path in derived.components.shapes if path in summed]
        self._average = Averager(dispatched, _Complete(self._program, masks), derived.groups, omit, threads)

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
        rows = self._rows
        partial, seconds, backend = self._average(values, call)
        moments = partial.moments
        finished = Finished(self._of_rows(moments), np.full(rows, partial.nonfinite, np.int64))
        return finished, Together(self._part(moments, TOTAL), self._part(moments, DIFFERENCES)), seconds, backend

    def resumes(self, call: Call) -> bool:
        """Return whether a run goes on from the state of a call."""
        return self._average.resumes(call)

    def _part(self, moments: Moments, path: str) -> Moments:
        where = self._slices.get(path, slice(0))
        return Moments(moments.count, moments.mean[where], moments.norm[where])

    def _of_rows(self, moments: Moments) -> RowMoments:
        value, rows = self._slices[self._program.outputs[0].path], self._rows

        def columns(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            parts = [x[value], *(x[self._slices[path]] for path in self._by_row)]
            return np.concatenate([part.reshape(rows, -1) for part in parts], axis=1)

        def sums(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return np.concatenate([x[:0], *(x[self._slices[path]] for path in self._summed)])

        means, norms = columns(moments.mean), columns(moments.norm)
        totals, variances = sums(moments.mean), np.square(sums(moments.stderr))
        spoiled = ~np.isfinite(means[:, 0])
        means[spoiled, 1:] = norms[spoiled, 1:] = np.nan
        if spoiled.any():
            totals[:] = variances[:] = np.nan
        return RowMoments(np.full(rows, moments.count, np.int64), means, norms, totals, variances)


class _Complete(Finisher):
    """Completes moments without a rule for values that are not finite, which differ by row."""

    def estimate(self, partial: Partial, inputs: Values, omit: bool) -> Partial:
        """Return the moments of all outputs."""
        return Partial(self(partial.moments, inputs), partial.nonfinite)
