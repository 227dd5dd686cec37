"""Complete the moments of a run over many rows: those of constant outputs, factors, and entries that are not free.

What `epilogue` does for one problem, for each row and for the sums over the rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import computing, to_host
from mcgrad.backends.base import RowPartial
from mcgrad.backends.host_values import WIDE, HostValues
from mcgrad.ir.program import Output, Program, Var
from mcgrad.ir.spaces import Values
from mcgrad.moments import Float64Array, degrees_of_rows
from mcgrad.results.components import Components
from mcgrad.results.row_moments import RowMoments

Mask = npt.NDArray[np.bool_]


class Finished(NamedTuple):
    """Moments of all outputs, and how many draws of each row had one that is not finite."""

    moments: RowMoments
    nonfinite: npt.NDArray[np.int64]


class RowFinisher:
    """Completes the moments of one Program over many rows.

    Parameters
    ----------
    program : Program
    free : mapping from path to bool array
        Entries of a parameter that are free; the gradient in the others is zero.
    components, over_rows : Components
        What the outputs by row are, and what the sums over the rows are of; of the latter only the gradient is an
        output.

    Attributes
    ----------
    random : bool array
        Which components of the outputs by row differ from draw to draw.
    """

    def __init__(
        self, program: Program, free: Mapping[str, Mask], components: Components, over_rows: Components
    ) -> None:
        outputs = program.outputs
        self._components, self._over_rows = components, over_rows
        self._by_row = Layout([out for out in outputs if not out.summed], free)
        self._summed = Layout([out for out in outputs if out.summed], free)
        self.random = self._by_row.random
        errors = np.repeat([out.error for out in self._summed.outputs], [out.var.size for out in self._summed.outputs])
        self._unknown = ~errors.astype(bool) & self._summed.random & ~self._summed.fixed
        self._lacks_errors, self._all_random = bool(self._unknown.any()), bool(self._summed.random.all())
        self._has_none = self._lacks_errors and bool(self._unknown.all())
        self._is_plain = self._by_row.is_plain and self._summed.is_plain and self._has_none == self._lacks_errors
        self._roots = [*dict.fromkeys(var for out in outputs for var in (_constant(out), out.scale) if var is not None)]
        self._host = HostValues(self._roots, WIDE)

    def __call__(self, partial: RowPartial, inputs: Values, omit: bool) -> Finished:
        """Return the moments of all outputs.

        Parameters
        ----------
        partial : RowPartial
            Of the random outputs.
        inputs : mapping from Input to array
            Those by row with the rows on the first axis.
        omit : bool
            Whether non-finite draws are left out of `partial`.

        Notes
        -----
        What is not finite is treated in each row as in a single problem (`Finisher.estimate`). Where it is a number of
        the value, or where no draw of a row is left, the sums over the rows of its gradients are NaN.
        """
        if self._is_plain and _are_finite(partial.means, partial.totals):
            variances = np.full(len(partial.totals), np.nan) if self._has_none else partial.variances
            sums = partial.totals, variances, partial.degrees
            return Finished(RowMoments(partial.counts, partial.means, partial.norms, *sums), partial.nonfinite)
        values = self._values(inputs)
        factors = {out.scale: values[out.scale] for out in self._summed.outputs if out.scale is not None}
        by_row = self._by_row
        with np.errstate(all="ignore"):
            means, totals = self._filled(partial.means, partial.totals, values)
            norms = by_row.filled(partial.norms, {}, {var: np.abs(x) for var, x in values.items()})
            squares = {var: np.square(x) for var, x in factors.items()}
            variances = self._summed.filled(partial.variances[None], {}, squares)[0]
            if self._lacks_errors:
                variances = np.where(self._unknown, np.nan, variances)
        if _are_finite(means, totals):
            degrees = self._degrees(partial)
            return Finished(RowMoments(partial.counts, means, norms, totals, variances, degrees), partial.nonfinite)
        counts, nonfinite = partial.counts.copy(), partial.nonfinite.copy()
        means, norms, totals, variances = (x.copy() for x in (means, norms, totals, variances))
        finite = np.isfinite(means)
        before = np.ones_like(finite)
        before[:, self.random] = np.isfinite(partial.means)
        always = ~finite & (before | ~self.random)  # components that are not finite in any draw
        spoiled = ~finite & self.random
        rows_always = always.any(axis=1)
        nonfinite[rows_always] = counts[rows_always] + (nonfinite[rows_always] if omit else 0)
        if omit:
            counts[rows_always] = 0
        none_left, bad = counts == 0, ~finite[:, self._components.values]
        spoiled |= none_left[:, None] | self._components.derivatives_of(bad)
        spoiled &= ~by_row.fixed
        means[spoiled] = norms[spoiled] = np.nan
        lost = self._over_rows.derivatives_of((bad | none_left[:, None]).any(axis=0))[self._over_rows.derivatives]
        unknown = (lost | ~np.isfinite(totals) & self._summed.random) & ~self._summed.fixed
        totals[unknown] = variances[unknown] = np.nan
        return Finished(RowMoments(counts, means, norms, totals, variances, self._degrees(partial)), nonfinite)

    @property
    def has_all_means(self) -> bool:
        """Whether the means of the random outputs are those of all outputs."""
        return self._by_row.is_plain and self._summed.is_plain

    def means(self, means: Float64Array, totals: Float64Array, inputs: Values) -> tuple[Float64Array, Float64Array]:
        """Return the means by row, and the sums over the rows, of all outputs, from those of the random ones."""
        if self.has_all_means:
            return means, totals
        with np.errstate(all="ignore"):
            return self._filled(means, totals, self._values(inputs))

    def _filled(
        self, means: Float64Array, totals: Float64Array, values: Mapping[Var, Float64Array]
    ) -> tuple[Float64Array, Float64Array]:
        rows = len(means)
        summed = {
            var: rows * x if len(x) == 1 else np.ascontiguousarray(x.T).sum(axis=1)  # in one order in any memory
            for var, x in values.items()
        }
        factors = {out.scale: values[out.scale] for out in self._summed.outputs if out.scale is not None}
        return self._by_row.filled(means, values, values), self._summed.filled(totals[None], summed, factors)[0]

    @property
    def layouts(self) -> tuple[Layout, Layout]:
        """Where the components by row are, and those that are summed over the rows."""
        return self._by_row, self._summed

    @property
    def roots(self) -> list[Var]:
        """Constant outputs and factors."""
        return self._roots

    def known(self, inputs: Values) -> dict[Var, Any]:
        """Return constant outputs and factors, of shape (rows, size), or (1, size) where all rows have the same.

        They are on the device where they depend on an input that is there.
        """
        found = self._host.rows(inputs) if self._roots else []
        return {var: x.reshape(var.size, x.shape[-1]).T for var, x in zip(self._roots, found, strict=True)}

    def _degrees(self, partial: RowPartial) -> Float64Array:
        """Return the degrees of freedom of all sums; those that no draw changes have the degrees of the draws."""
        if self._all_random:
            return partial.total_degrees
        degrees = np.full(len(self._summed.random), degrees_of_rows(partial.counts))
        degrees[self._summed.random] = partial.total_degrees
        return degrees

    def _values(self, inputs: Values) -> dict[Var, Float64Array]:
        """Return what `known` does, in host memory."""
        if not self._roots:
            return {}
        with computing():
            return {var: to_host(x) for var, x in self.known(inputs).items()}


class Layout:
    """Where the components of some outputs are, and which of them are random or fixed at zero."""

    def __init__(self, outputs: list[Output], free: Mapping[str, Mask]) -> None:
        self.outputs = outputs
        sizes = [out.var.size for out in outputs]
        self.size = sum(sizes)
        self.slices = [slice(end - size, end) for end, size in zip(accumulate(sizes), sizes, strict=True)]
        empty = np.zeros(0, bool)
        self.random = np.concatenate([empty, *(np.full(out.var.size, out.var.by_draw) for out in outputs)])
        entries = (
            np.broadcast_to(~free[out.path], out.var.shape).ravel()
            if out.path in free
            else np.zeros(out.var.size, bool)
            for out in outputs
        )
        self.fixed = np.concatenate([empty, *entries])
        self.is_plain = bool(self.random.all()) and not self.fixed.any() and all(out.scale is None for out in outputs)

    def filled(
        self, random: Float64Array, constants: Mapping[Var, Float64Array], factors: Mapping[Var, Float64Array]
    ) -> Float64Array:
        """Return all components, with the constant ones (zero where they are not given), and times the factors."""
        if self.is_plain:
            return random
        found = np.zeros((len(random), self.size))
        found[:, self.random] = random
        for out, where in zip(self.outputs, self.slices, strict=True):
            if not out.var.by_draw and out.var in constants:
                found[:, where] = constants[out.var]
            if out.scale is not None and out.scale in factors:
                found[:, where] *= factors[out.scale]
        found[:, self.fixed] = 0.0
        return found


@np.errstate(over="ignore", invalid="ignore")
def _are_finite(means: Float64Array, totals: Float64Array) -> bool:
    """Return whether all numbers are finite; false, too, where their sum is not."""
    return math.isfinite(np.add.reduce(means, axis=None) + np.add.reduce(totals))


def _constant(out: Output) -> Var | None:
    return None if out.var.by_draw else out.var
