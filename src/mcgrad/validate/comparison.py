"""What a comparison of methods found: variance, time and efficiency of each, as a table and a figure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.gradients.difference import DIFFERENCE
from mcgrad.moments import Float64Array
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.columns import aligned
from mcgrad.results.components import Components
from mcgrad.results.estimate import Estimate
from mcgrad.system import packages

MOST_ROWS = 12  # components that a table shows


@dataclass(frozen=True)
class Row:
    """What one method gave.

    Attributes
    ----------
    method : str
    estimate : Estimate, or BatchEstimate of a batch
        Its value and gradient, with standard errors, and its second derivatives if these are compared.
    variance : array, shape (components,)
        Variance of one draw of each component of the gradient, or of second derivatives: n times the squared standard
        error. Where draws are averaged in groups it is what a single draw would need to have for the same error. Of a
        batch the sum over the rows, in each of which there is one draw.
    seconds : float
        Time of one draw, of a batch of one in each row: the best of the rounds, on all threads.
    errors : tuple of (int, float)
        Where several samplers are compared: numbers of draws, n and a few halvings of it, and the standard error of the
        gradient at each, all components together.
    """

    method: str
    estimate: Estimate | BatchEstimate
    variance: Float64Array
    seconds: float
    errors: tuple[tuple[int, float], ...] = ()

    @property
    def efficiency(self) -> Float64Array:
        """Work-normalised efficiency of each component, 1 / (variance x time of a draw)."""
        with np.errstate(all="ignore"):
            efficiency: Float64Array = 1.0 / (self.variance * self.seconds)
        return efficiency

    @property
    def overall(self) -> float:
        """Efficiency by the variance summed over the components; NaN where that is not finite."""
        with np.errstate(all="ignore"):
            return float(1.0 / np.square(np.float64(self.error)))

    @property
    def error(self) -> float:
        """Standard error of what is compared, all components together, that a second of draws gets."""
        return total_error(self.estimate) * math.sqrt(self.estimate.n * self.seconds)

    @property
    def slope(self) -> float:
        """Slope of log(error) against log(n) over `errors`, by least squares: about -1/2 of independent draws.

        NaN with fewer than three errors that are positive and finite.
        """
        usable = [(n, error) for n, error in self.errors if 0 < error < math.inf]
        if len(usable) < 3:
            return math.nan
        n, error = np.log(usable).T
        return float(np.polyfit(n, error, 1)[0])


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; prints as a table.

    Attributes
    ----------
    rows : tuple of Row
        One for each method that applies.
    refused : dict of str to str
        Those that do not, and why.
    components : tuple of str
        Names of the components of the gradient, or of second derivatives; of a batch those of one row, then those that
        the rows share.
    biased : dict of str to float
        Methods that differ from finite differences of the expectation, by more than five standard errors, and by how
        many in their worst component: f jumps and they leave it out, or their densities are not those of the draws.
    """

    rows: tuple[Row, ...]
    refused: dict[str, str]
    components: tuple[str, ...]
    biased: dict[str, float]

    def __getitem__(self, method: str) -> Row:
        for row in self.rows:
            if row.method == method:
                return row
        raise KeyError(f"{method}; there are {', '.join(row.method for row in self.rows)}")

    @property
    def best(self) -> Row:
        """The row of the largest overall efficiency, of those that are not `biased`."""
        sound = [row for row in self.rows if row.method not in self.biased]
        if not sound:
            raise ParameterError("methods", "none that is unbiased here", f'"{DIFFERENCE}" among them')
        return min(sound, key=lambda row: row.error if math.isfinite(row.error) else math.inf)

    def __str__(self) -> str:
        first, biased = self.rows[0].estimate, self.biased
        sound = [row for row in self.rows if row.method not in biased]
        least = min((row.error for row in sound if 0 < row.error < math.inf), default=1.0)
        table = [
            ("method", "variance", "time/draw", "efficiency", "relative"),
            *(_summary(row, least, row.method in biased) for row in self.rows),
        ]
        if any(math.isfinite(row.slope) for row in self.rows):
            slopes = ["slope of error", *(f"{row.slope:.2f}" for row in self.rows)]
            table = [(*cells, slope) for cells, slope in zip(table, slopes, strict=True)]
        replicates = any(isinstance(row.estimate, Estimate) and row.estimate.replicates for row in self.rows)
        draws, over = f"{first.n:,} draws" if replicates else f"the same {first.n:,} draws", ""
        if isinstance(first, BatchEstimate):
            draws, over = f"{first.size:,} rows, {draws} each", ", sum over rows"
        lines = [f"{draws}, {first.dtype}, {first.backend}, seed {first.seed}", "", *aligned(table)]
        names = [row.method for row in self.rows]
        grads = [_with_errors(row.estimate) for row in self.rows]
        variances = [[f"{v:.4g}" for v in row.variance] for row in self.rows]
        for title, columns in ((_of(first), grads), ("variance", variances)):
            rows = zip(self.components[:MOST_ROWS], *columns, strict=False)
            table = [(f"{title}{over}", *names), *rows]
            lines += ["", *aligned(table if len(names) < len(table) else list(zip(*table, strict=True)))]
        if len(self.components) > MOST_ROWS:
            lines.append(f"... {len(self.components) - MOST_ROWS:,} more components")
        if first.components.second:
            lines += ["", *(f"{row.method}: {_ways(row.estimate.hessian_method)}" for row in self.rows)]
        lines += [f"{method} is {z:.0f} standard errors from finite differences" for method, z in biased.items()]
        for why in dict.fromkeys(self.refused.values()):
            methods = [method for method, reason in self.refused.items() if reason == why]
            lines.append(f"{', '.join(methods)} {'does' if len(methods) == 1 else 'do'} not apply: {why}")
        return "\n".join(lines)

    def plot(self, path: str | Path | None = None) -> Any:
        """Plot the variance of each component, and the efficiency, by method.

        Where several samplers are compared there is a third panel: the error of the gradient against the number of
        draws, with the slope of each in the legend.

        Parameters
        ----------
        path : str or Path, optional
            Where to save the figure.

        Returns
        -------
        matplotlib Figure
            Needs matplotlib.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError(f"Comparison.plot needs matplotlib: {packages.install(packages.PLOT)}") from None
        fallen = [row for row in self.rows if math.isfinite(row.slope)]
        figure = Figure(figsize=(13.5 if fallen else 9, 3.6), layout="constrained")
        left, right, *others = figure.subplots(1, 3 if fallen else 2)
        x = np.arange(len(self.components))
        for row in self.rows:
            left.plot(x, np.where(row.variance > 0, row.variance, np.nan), "o-", label=row.method)
        left.set(yscale="log", xlabel="component", ylabel="variance of one draw", xticks=x if len(x) <= 8 else [])
        if len(x) <= 8:
            left.set_xticklabels(self.components)
        left.legend(fontsize="small")
        finite = [row for row in self.rows if math.isfinite(row.overall)]
        right.barh([row.method for row in finite], [row.overall for row in finite])
        right.set(xscale="log", xlabel="1 / (variance x seconds)")
        right.invert_yaxis()
        for axes in others:
            for row in fallen:
                axes.plot(*zip(*row.errors, strict=True), "o-", label=f"{row.method}: slope {row.slope:.2f}")
            axes.set(
                xscale="log", yscale="log", xlabel="n", ylabel=f"standard error of the {_of(self.rows[0].estimate)}"
            )
            axes.legend(fontsize="small")
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def total_error(estimate: Estimate | BatchEstimate) -> float:
    """Return the standard error of what is compared, all components together: a variance may overflow, or vanish."""
    return float(np.hypot.reduce(compared(estimate).errors))


class Derivatives(NamedTuple):
    """Components of a gradient or of second derivatives, of a batch summed over the rows.

    Parameters
    ----------
    of : str
        What they are: "gradient", "hessian" or "hvp".
    means, errors : array, shape (components,)
        With standard errors.
    names : callable
        Returns the names of the components.
    """

    of: str
    means: Float64Array
    errors: Float64Array
    names: Callable[[], tuple[str, ...]]


def compared(estimate: Estimate | BatchEstimate) -> Derivatives:
    """Return what is compared of an estimate: second derivatives where there are any, else the gradient."""
    components, of = estimate.components, _of(estimate)
    where = _part(components)
    if not isinstance(estimate, BatchEstimate):
        means, errors = estimate.finished.estimate[where], estimate.finished.stderr[where]
        return Derivatives(of, means, errors, lambda: tuple(map(str, components[where])))
    moments, over = estimate.moments, components.over_rows(estimate.shared)
    there = _part(over) if over.second or not components.second else slice(over.derivatives.stop, over.derivatives.stop)
    shared, sums = over[there], slice(there.start - over.values.stop, there.stop - over.values.stop)
    return Derivatives(
        of,
        np.concatenate([moments.estimate[:, where].sum(axis=0), moments.totals[sums]]),
        np.concatenate([np.hypot.reduce(moments.stderr[:, where], axis=0), moments.total_stderr[sums]]),
        lambda: tuple(map(str, [*components[where], *shared])),
    )


def _of(estimate: Estimate | BatchEstimate) -> str:
    second = estimate.components.second
    return second.of_results if second else "gradient"


def _part(components: Components) -> slice:
    """Return where what is compared is among components."""
    return slice(components.gradient.stop, components.derivatives.stop) if components.second else components.gradient


def _with_errors(estimate: Estimate | BatchEstimate) -> list[str]:
    """Each component that is compared with its standard error."""
    _, means, errors, _ = compared(estimate)
    return [f"{mean:.4g} +- {error:.2g}" for mean, error in zip(means, errors, strict=True)]


def _ways(method: str | dict[str, str]) -> str:
    """Name the ways of second derivatives: where they differ by pair of parameters, each with its pairs."""
    if isinstance(method, str):
        return method
    pairs: dict[str, list[str]] = {}
    for pair, way in method.items():
        pairs.setdefault(way, []).append(pair)
    return "; ".join(f"{way} in {' and '.join(found)}" for way, found in pairs.items())


def _summary(row: Row, least: float, biased: bool) -> tuple[str, ...]:
    if biased or not math.isfinite(row.error):
        relative = "biased" if biased else "not finite"
    else:
        relative = f"{(least / row.error) ** 2:.3g}" if row.error else "exact"
    return (row.method, f"{row.variance.sum():.4g}", f"{row.seconds * 1e9:.3g} ns", f"{row.overall:.3g}", relative)
