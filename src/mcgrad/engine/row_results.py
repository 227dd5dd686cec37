"""Results of a batch on a device, by whole arrays: the rules of `row_epilogue`, without a look at any number.

Standard errors whose squares have left the range of a kernel's sums are NaN, by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mcgrad.arrays import to_device
from mcgrad.engine.row_epilogue import Layout
from mcgrad.ir.program import Output, Var

NAN = float("nan")


class Numbers(NamedTuple):
    """Means and their standard errors."""

    means: Any
    errors: Any


class Results(NamedTuple):
    """The value, the gradient in each parameter by its path, and how many draws of each row were not finite."""

    value: Numbers
    grads: dict[str, Numbers]
    nonfinite: Any

    def unless(self, wrong: Any) -> Results:
        """Return the same, or NaN throughout where something is wrong."""
        value, *grads = (
            Numbers(np.where(wrong, NAN, x.means), np.where(wrong, NAN, x.errors))
            for x in (self.value, *self.grads.values())
        )
        return Results(value, dict(zip(self.grads, grads, strict=True)), self.nonfinite)


@dataclass(frozen=True)
class _Block:
    """Components of one output by row, before it is clear which draws count.

    Parameters
    ----------
    means, norms : array, shape (rows, size)
    bad : array of bool
        What is not finite in some draw.
    always : array of bool
        What is not finite in any draw.
    free : array of bool, or None
        Of shape (size,): what is not zero whatever the draws; None where all are free.
    """

    means: Any
    norms: Any
    bad: Any
    always: Any
    free: Any


class RowResults:
    """Results of one batch.

    Parameters
    ----------
    layouts : (Layout, Layout)
        Of the components by row, of which the first output is the value, one number; and of the sums over rows.
    limits : Range
        Within what limits squares keep their digits.
    omit : bool
        Whether draws that are not finite are left out.
    """

    def __init__(self, layouts: tuple[Layout, Layout], limits: Any, omit: bool) -> None:
        self._by_row, self._summed = layouts
        self._limits, self._omit = limits, omit
        self._free: dict[str, Any] = {}

    def __call__(self, found: Any, known: Mapping[Var, Any], reduce: str | None) -> Results:
        """Return the results.

        Parameters
        ----------
        found : RowArrays
        known : mapping from Var to array
            As `RowFinisher.known` returns them.
        reduce : {None, "sum", "mean", "none"}
        """
        rows, outputs = len(found.counts), self._by_row.outputs
        blocks = [*self._blocks(found, known)]
        always = _any([block.always.any(axis=1) for block in blocks])
        nonfinite = np.where(always, found.counts + (found.nonfinite if self._omit else 0.0), found.nonfinite)
        counts = np.where(always, 0.0, found.counts) if self._omit else found.counts
        none_left, bad = counts == 0.0, ~np.isfinite(blocks[0].means[:, 0])
        value = _numbers(blocks[0], counts, none_left[:, None])
        grads = {
            out.path: _numbers(block, counts, (none_left | bad)[:, None])
            for out, block in zip(outputs[1:], blocks[1:], strict=True)
        }
        weight = 1.0 / rows if reduce == "mean" else 1.0
        if reduce in ("sum", "mean"):
            value = Numbers(value.means.sum() * weight, np.sqrt(np.square(value.errors).sum()) * weight)
        lost, start = (bad | none_left).any(), 0
        for out in self._summed.outputs:
            end = start + (out.var.size if out.var.by_draw else 0)
            sums = found.totals[start:end], found.variances[start:end]
            grads[out.path] = self._sum(out, *sums, known, rows, lost, weight)
            start = end
        return Results(value, grads, nonfinite)

    def _blocks(self, found: Any, known: Mapping[Var, Any]) -> Iterator[_Block]:
        start = 0
        for out in self._by_row.outputs:
            factor = 1.0 if out.scale is None else known[out.scale]
            free = self._free_of(out, self._by_row)
            if out.var.by_draw:
                end = start + out.var.size
                before, norms = found.means[:, start:end], found.norms[:, start:end]
                means, norms = before * factor, np.where(self._is_lost(before, norms, found.counts), NAN, norms)
                norms, bad = norms * np.abs(factor), ~np.isfinite(means)
                always, start = np.isfinite(before) & bad, end
            else:
                means = known[out.var] * factor + np.zeros_like(found.counts)[:, None]
                norms = np.zeros_like(means)
                bad, always = norms != 0.0, ~np.isfinite(means)
            if free is not None:
                means, norms = np.where(free, means, 0.0), np.where(free, norms, 0.0)
                bad, always = bad & free, always & free
            yield _Block(means, norms, bad, always, free)

    def _is_lost(self, means: Any, norms: Any, counts: Any) -> Any:
        """Whether squares did not keep their digits: as `backends.rescaled.exponents` has it."""
        small = norms < np.sqrt(counts * self._limits.least)[:, None]
        small = small & (np.abs(means) < self._limits.floor) & ((means != 0.0) | (norms != 0.0))
        return small | (np.isfinite(means) & ~np.isfinite(norms))

    def _sum(
        self, out: Output, mean: Any, variance: Any, known: Mapping[Var, Any], rows: int, lost: Any, weight: float
    ) -> Numbers:
        """Return a sum over the rows, or a mean."""
        factor = 1.0 if out.scale is None else known[out.scale][0]
        if not out.var.by_draw:
            x = known[out.var]
            mean = x[0] * float(rows) if len(x) == 1 else x.sum(axis=0)
            variance = np.zeros_like(mean)
        mean, variance = mean * factor, variance * factor * factor
        unknown = (~np.isfinite(mean) & out.var.by_draw) | lost
        free = self._free_of(out, self._summed)
        if free is not None:
            mean, variance, unknown = np.where(free, mean, 0.0), np.where(free, variance, 0.0), unknown & free
        return Numbers(np.where(unknown, NAN, mean) * weight, np.sqrt(np.where(unknown, NAN, variance)) * weight)

    def _free_of(self, out: Output, layout: Layout) -> Any:
        """Return which components of an output are free, on the device, or None for all."""
        if out.path not in self._free:
            fixed = layout.fixed[layout.slices[layout.outputs.index(out)]]
            self._free[out.path] = to_device(~fixed) if fixed.any() else None
        return self._free[out.path]


def _numbers(block: _Block, counts: Any, lost: Any) -> Numbers:
    spoiled = block.bad | lost
    if block.free is not None:
        spoiled = spoiled & block.free
    means, norms = np.where(spoiled, NAN, block.means), np.where(spoiled, NAN, block.norms)
    degrees = np.where(counts > 1.0, counts * (counts - 1.0), NAN)
    errors = norms / np.sqrt(degrees)[:, None]
    return Numbers(np.where(np.isfinite(means) | (norms == 0.0), means, NAN), errors)


def _any(conditions: list[Any]) -> Any:
    found = conditions[0]
    for condition in conditions[1:]:
        found = found | condition
    return found
