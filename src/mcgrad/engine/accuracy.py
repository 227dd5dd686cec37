"""How accurate a result is for the tolerance of a stopping rule: half widths of intervals, part by part and row by row.

`until` asks at each look. What the intervals are made of, a variance of draws or anything else, is the result's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.moments import Float64Array
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.second import Second
from mcgrad.results.stopping import GRAD, SECOND, VALUE, StoppingRule

Ends: TypeAlias = tuple[Any, Any]


class Accuracy(NamedTuple):
    """The part of a result that is least accurate for its tolerance.

    Parameters
    ----------
    part : str
        Its name, in a batch with the row.
    error, tolerance : float
        The norm of its half widths, and what that may be.
    size : float
        The norm of the part itself.
    ratio : float
        Error over tolerance: at most 1 where the tolerance is reached. 0 for what no draw changes.
    finite : bool
        Whether all parts are finite.
    """

    part: str
    error: float
    tolerance: float
    size: float
    ratio: float
    finite: bool

    @property
    def is_zero(self) -> bool:
        """Whether the part cannot be told from zero."""
        return self.size <= self.error


def accuracy(found: Estimate | BatchEstimate, rule: StoppingRule, varies: Mapping[str, bool]) -> Accuracy:
    """Return the accuracy of a result: that of its least accurate part, in the least accurate row.

    Parameters
    ----------
    found : Estimate or BatchEstimate
    rule : StoppingRule
    varies : mapping from str to bool
        Whether draws change the value, whose path is "", and the gradient in each parameter.

    Notes
    -----
    A part without any scatter is exact if no draw changes it. If draws do, as those of an event that has not occurred
    yet, its error is zero all the same, which any tolerance above zero accepts; one of zero accepts it for exact parts
    alone.
    """
    worst = [_of(name, means, halves, rule, random) for name, means, halves, random in _parts(found, rule, varies)]
    least = max(worst, key=lambda part: part.ratio)
    return least._replace(finite=all(part.finite for part in worst))


def _of(name: str, means: Float64Array, halves: Float64Array, rule: StoppingRule, random: bool) -> Accuracy:
    """Return the accuracy of one part, by its rows and its numbers."""
    if not len(means):  # a batch without rows
        return Accuracy(name, 0.0, rule.atol, 0.0, 0.0, True)
    norm = np.max if rule.norm == "max" else np.linalg.norm
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        sizes, errors = (norm(np.abs(x), axis=1) for x in (means, halves))
        tolerances = rule.rtol * sizes + rule.atol
        ratios = errors / tolerances
    ratios[(errors == 0) & ((tolerances > 0) | ~np.bool_(random))] = 0.0
    ratios[np.isnan(ratios)] = math.inf
    row = int(np.argmax(ratios))
    place = f"{name} of row {row:,}" if len(means) > 1 else name
    error, tolerance, size, ratio = (float(x[row]) for x in (errors, tolerances, sizes, ratios))
    return Accuracy(place, error, tolerance, size, ratio, bool(np.isfinite(means).all()))


def _parts(
    found: Estimate | BatchEstimate, rule: StoppingRule, varies: Mapping[str, bool]
) -> Iterator[tuple[str, Float64Array, Float64Array, bool]]:
    """Yield the parts: name, numbers and half widths as arrays (rows, numbers), and whether draws change them.

    What is by row, and what is summed over the rows, are parts by themselves.
    """
    of_rows = found if isinstance(found, BatchEstimate) else None
    if isinstance(found, Estimate):
        found = found.to_host()
    intervals = found.confidence_interval(rule.level)
    values, gradients = (tree.flatten(x) for x in (intervals.value, intervals.grad))
    second = tree.flatten(intervals.second)
    order = of_rows.order if of_rows else tuple(found.components.shapes)
    once = 1 if of_rows is None or of_rows.size else 0  # of what is summed: sums over no rows are exact
    for part in rule.parts:
        if part == VALUE:
            rows = of_rows.size if of_rows and of_rows.reduce not in ("sum", "mean") else once
            yield VALUE, *_joined([*values.values()], rows), varies[""]
            continue
        if part in SECOND:
            of = found.components
            here, shared = of.second_shapes[part], of.second.within(of.others)
            by_row, sums = ([x for path, x in second.items() if (path in here) is each] for each in (True, False))
            yield from _second(part, by_row, of_rows.size if of_rows else 1, of.second_here, varies)
            yield from _second(part, sums, once, shared, varies)
            continue
        names = order if part == GRAD else tree.select(order, [part], "of")
        own = [name for name in names if of_rows and name in found.components.shapes]
        for some, rows in ((own, of_rows.size if of_rows else 1), ([x for x in names if x not in own], once)):
            if some:
                chosen = [gradients[path] for name in some for path in found.components.paths(name)]
                yield part, *_joined(chosen, rows), any(varies[name] for name in some)


def _second(
    part: str, intervals: Sequence[Ends], rows: int, second: Second, varies: Mapping[str, bool]
) -> Iterator[tuple[str, Float64Array, Float64Array, bool]]:
    """Yield the part that second derivatives are, where there are any."""
    if intervals:
        yield part, *_joined(intervals, rows), any(varies[name] for name in second.names)


def _joined(ends: Sequence[Ends], rows: int) -> tuple[Float64Array, Float64Array]:
    """Return the middles and the half widths of intervals, each of shape (rows, numbers)."""
    low, high = (np.concatenate([_by_row(pair[i], rows) for pair in ends], axis=1) for i in (0, 1))
    with np.errstate(invalid="ignore"):
        return 0.5 * low + 0.5 * high, 0.5 * (high - low)


def _by_row(x: Any, rows: int) -> npt.NDArray[np.float64]:
    return np.asarray(x, np.float64).reshape(rows, -1) if rows else np.zeros((0, 0))
