"""Compare methods for one gradient over the same draws: variance, time and efficiency of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad.distributions.base import Distribution
from mcgrad.engine.auto import CHECKED, COMPONENTS
from mcgrad.engine.estimator import Estimator
from mcgrad.engine.finite_differences import Differences, farthest
from mcgrad.engine.options import Options, Request
from mcgrad.errors import ParameterError, TraceError, shown
from mcgrad.gradients.difference import DIFFERENCE
from mcgrad.gradients.jump_check import without_jump_warnings
from mcgrad.gradients.methods import METHODS
from mcgrad.gradients.plan import AUTO, GROUP
from mcgrad.inputs import arguments
from mcgrad.inputs.control import controls as read_controls, names
from mcgrad.inputs.integrand import Integrand
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.sampler import REPLICATES, SAMPLERS, SCRAMBLES, Sampler
from mcgrad.ir.program import Program
from mcgrad.moments import Float64Array
from mcgrad.noise.source import PHILOX
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.columns import aligned
from mcgrad.results.estimate import Estimate
from mcgrad.system import packages
from mcgrad.tasks.remote import Remote, on
from mcgrad.validate.rows import problems, spread

ROUNDS = 8  # pieces of the draws: each goes through every method before the next does
REPEATS = 3  # of a batch: times that each method averages all draws
WARM = 64  # groups of draws that every method sees once before it is timed
MOST_ROWS = 12  # components that a table shows
HALVINGS = 5  # of n, at which errors are also taken where samplers are compared: as many draws again in all
FEWEST = 64  # groups of draws at these
ROWS = 4  # of a batch, in which methods are compared with finite differences


@dataclass(frozen=True)
class Row:
    """What one method gave.

    Attributes
    ----------
    method : str
    estimate : Estimate, or BatchEstimate of a batch
        Its value and gradient, with standard errors.
    variance : array, shape (components,)
        Variance of one draw of each component of the gradient: n times the squared standard error. Where draws are
        averaged in groups it is what a single draw would need to have for the same error. Of a batch the sum over the
        rows, in each of which there is one draw.
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
        """Standard error of the gradient, all components together, that a second of draws gets."""
        return _spread(self.estimate) * math.sqrt(self.estimate.n * self.seconds)

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
        Names of the components of the gradient; of a batch those of one row, then those that the rows share.
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
        for title, columns in (("gradient", grads), ("variance", variances)):
            rows = zip(self.components[:MOST_ROWS], *columns, strict=False)
            table = [(f"{title}{over}", *names), *rows]
            lines += ["", *aligned(table if len(names) < len(table) else list(zip(*table, strict=True)))]
        if len(self.components) > MOST_ROWS:
            lines.append(f"... {len(self.components) - MOST_ROWS:,} more components")
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
            axes.set(xscale="log", yscale="log", xlabel="n", ylabel="standard error of the gradient")
            axes.legend(fontsize="small")
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def compare(
    f: Callable[..., Any] | Integrand | Objective,
    q: Distribution | None = None,
    n: int | None = None,
    *,
    methods: Iterable[str | Mapping[str, str]] | None = None,
    controls: Iterable[Any] = (None,),
    samplers: str | Iterable[str] = PHILOX,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    wrt: str | Iterable[str] | None = None,
    cotangent: Any = None,
    k: int = GROUP,
    replicates: int = REPLICATES,
    scramble: str = SCRAMBLES[0],
    antithetic: bool = False,
    coefficients: str | None = None,
    proposal: Distribution | None = None,
    batched_params: str | Iterable[str] = (),
    batched_data: str | Iterable[str] = (),
    seed: int = 0,
    dtype: npt.DTypeLike | None = None,
    backend: str = "auto",
    threads: int | None = None,
    executor: Any = None,
    require_same: bool = False,
) -> Comparison:
    """Estimate a gradient by several methods over the same draws.

    Parameters
    ----------
    f, q, n, params, data, wrt, cotangent, k
        As for `estimate`. n is rounded down to what every method can cut into its groups, and a sampler
        into its points.
    methods : iterable of str or dict, optional
        As `method` of `estimate`. Default: all that apply. One that is named and applies with none of the controls
        and samplers raises the error of `estimate`.
    controls : iterable
        As `control` of `estimate`: each method has a row with each, ``controls=[None, "linear", "quadratic"]``, named
        as in "pathwise, linear". None is without control variates.
    samplers : str or iterable of str
        As `sampler` of `estimate`: each method is compared with each. With a point set all average n draws a few times,
        and the fastest counts. Of several the errors at n / 2, n / 4 ... are estimated, too: see `Row.errors`.
    replicates, scramble
        As for `estimate`, of point sets.
    antithetic, coefficients, proposal, batched_params, batched_data, seed, dtype, backend, threads
        As for `estimate`, the same for all.
    executor, require_same
        As for `estimate`. Times of draws are then those of the executor, with all its workers.

    Returns
    -------
    Comparison
        Gradient, standard error, variance of one draw, time of one draw, and 1 / (variance x time), by method; a table
        when printed; ``.plot()``.

    Notes
    -----
    One pass over the draws, in a few pieces: each piece goes through every method before the next does, so that other
    load of the machine affects all methods alike. Every method has a kernel of its own, as in `estimate`, whose time
    includes the draws and f. The noise of q is the same for all; methods that average draws in groups number draws in
    another way (docs/draws.md). The pilots of baselines and of control variates are not in the times. "auto" as a
    method is refused: it is one of the others.

    Of a batch the gradient is that of the sum of the values over the rows, and its variance the sum of the variances
    of all its components: those in parameters by row, of every row, and those in parameters that rows share. Each
    method averages all draws a few times, as many draws a call as asked for, and the fastest counts. Finite differences
    are taken in the first row, the last, and two between.
    """
    n, seed = arguments.count("n", n, 2), arguments.seed(seed)
    asked = [name for name, method in METHODS.items() if method.suits(f)] if methods is None else list(methods)
    options = Options(
        params=params,
        data=data,
        wrt=wrt,
        cotangent=cotangent,
        k=k,
        dtype=dtype,
        backend=backend,
        threads=threads,
        draws=n,
        antithetic=antithetic,
        coefficients=coefficients,
        proposal=proposal,
        batched_params=batched_params,
        batched_data=batched_data,
    )
    request = Request(f, q, options)
    estimators: dict[str, Estimator] = {}
    refused: dict[str, str] = {}
    failed, applied = dict[str, ParameterError | TraceError](), set[str]()
    sets = [read_controls(control) for control in controls]
    drawn = [samplers] if isinstance(samplers, str) else [*samplers]
    for sampler in drawn:
        arguments.one_of("samplers", sampler, SAMPLERS)
    Sampler(next((sampler for sampler in drawn if sampler != PHILOX), PHILOX), replicates, scramble)
    for option, count in (("controls", len(sets)), ("samplers", len(drawn))):
        if not count:
            raise ParameterError(option, "none", "at least one")
    for method, control, sampler in product(asked, sets, drawn):
        name = method if isinstance(method, str) else ", ".join(f"{path}: {one}" for path, one in method.items())
        if name == AUTO:
            raise ParameterError("methods", repr(AUTO), "the methods that it chooses from")
        name = ", ".join([name, *names(control), *([sampler] if len(drawn) > 1 else [])])
        randomised = {"sampler": sampler, "replicates": replicates, "scramble": scramble} if sampler != PHILOX else {}
        try:
            with without_jump_warnings():
                estimators[name] = Estimator.of(request.change(method=method, control=control, **randomised))
        except (ParameterError, TraceError) as error:
            refused[name], failed[shown(method)] = str(error), error
        else:
            applied.add(shown(method))
    if methods is not None:
        for method, why in failed.items():
            if method not in applied:
                raise why
    if not estimators:
        given = shown(asked) if asked else "none"
        raise ParameterError("methods", given, f"at least one that applies, of {', '.join(METHODS)}")
    with on(executor, require_same) as remote:
        rows = _run(estimators, n, seed, remote)
        if len(drawn) > 1:
            rows = tuple(replace(row, errors=_errors(row, estimators[row.method], seed, remote)) for row in rows)
    value = Estimator.of(request.change(wrt=(), method=DIFFERENCE.name, dtype="float64", backend="numpy")).program
    biased = _biased(estimators, value, n, seed)
    return Comparison(rows, refused, _gradient(rows[0].estimate).names(), biased)


def _biased(estimators: Mapping[str, Estimator], value: Program, n: int, seed: int) -> dict[str, float]:
    """Compare every method with finite differences; return by how many standard errors some are off."""
    first = next(iter(estimators.values()))
    batch, found = first.derived.batch, dict[str, float]()
    looked_at = problems(first, spread(batch.size, ROWS) if batch else [])
    for problem in looked_at:
        differences = Differences(problem.q, value, problem.inputs, seed, first.dtype, of=first.derived.components)
        for name, estimator in estimators.items():
            given = {**problem.inputs, **estimator.derived.pilots(problem.inputs, seed)}
            check = differences.unpaired if estimator.plan.group > 1 else differences.check
            checks, _ = check(estimator.derived.of_result, given, -(-COMPONENTS // len(looked_at)), min(n, CHECKED))
            if z := farthest(checks):
                found[name] = max(z, found.get(name, 0.0))
    return {name: found[name] for name in estimators if name in found}


def _run(estimators: Mapping[str, Estimator], n: int, seed: int, remote: Remote | None) -> tuple[Row, ...]:
    """Run all methods in turns: over pieces of the draws, or of a batch or a point set over all of them again."""
    unit = math.lcm(*(estimator.group for estimator in estimators.values()))
    points = any(estimator.derived.sampler.is_point_set for estimator in estimators.values())
    again = points or next(iter(estimators.values())).derived.batch is not None
    rounds = 1 if again else max(min(ROUNDS, n // (2 * unit)), 1)
    step = n // rounds // unit * unit
    if step < 2 * unit:
        raise ParameterError("n", f"{n:,}", f"at least {2 * unit}, for groups of {unit} draws")
    steps = {name: each.derived.whole(step) if points else step for name, each in estimators.items()}
    for name, estimator in estimators.items():
        estimator(steps[name] if again else WARM * unit, seed, executor=remote)
    parts: dict[str, list[Estimate | BatchEstimate]] = {name: [] for name in estimators}
    for i in range(REPEATS if again else rounds):
        for name, estimator in estimators.items():
            parts[name].append(estimator(steps[name], seed, first=0 if again else i * step, executor=remote))
    return tuple(_row(name, found, found[:rounds]) for name, found in parts.items())


def _row(method: str, timed: list[Estimate | BatchEstimate], parts: list[Estimate | BatchEstimate]) -> Row:
    whole = parts[0]
    for part in parts[1:]:  # of a batch there is one
        assert isinstance(whole, Estimate)
        assert isinstance(part, Estimate)
        whole = whole.merge(part)
    with np.errstate(over="ignore", under="ignore"):
        variance = np.square(_gradient(whole).errors) * whole.n
    return Row(method, whole, variance, min(part.seconds / part.n for part in timed))


def _errors(row: Row, estimator: Estimator, seed: int, remote: Remote | None) -> tuple[tuple[int, float], ...]:
    """Return the errors with the draws of a row, and with halvings of these."""
    found = {row.estimate.n: _spread(row.estimate)}
    for k in range(1, HALVINGS + 1):
        n = estimator.derived.whole(row.estimate.n >> k)
        if n >= FEWEST * estimator.group and n < min(found):
            found[n] = _spread(estimator(n, seed, executor=remote))
    return tuple(sorted(found.items()))


def _spread(estimate: Estimate | BatchEstimate) -> float:
    """Return the standard error of the gradient, all components together: a variance may overflow, or vanish."""
    return float(np.hypot.reduce(_gradient(estimate).errors))


class _Gradient(NamedTuple):
    """The components of a gradient, of a batch summed over the rows: means, standard errors, and their names."""

    means: Float64Array
    errors: Float64Array
    names: Callable[[], tuple[str, ...]]


def _gradient(estimate: Estimate | BatchEstimate) -> _Gradient:
    components, where = estimate.components, estimate.components.gradient
    if not isinstance(estimate, BatchEstimate):
        means, errors = estimate.finished.estimate[where], estimate.finished.stderr[where]
        return _Gradient(means, errors, lambda: tuple(map(str, components[where])))
    moments, over = estimate.moments, components.over_rows(estimate.shared)
    shared = over[over.gradient]
    return _Gradient(
        np.concatenate([moments.estimate[:, where].sum(axis=0), moments.totals]),
        np.concatenate([np.hypot.reduce(moments.stderr[:, where], axis=0), moments.total_stderr]),
        lambda: tuple(map(str, [*components[where], *shared])),
    )


def _with_errors(estimate: Estimate | BatchEstimate) -> list[str]:
    """Each component of the gradient with its standard error."""
    means, errors, _ = _gradient(estimate)
    return [f"{mean:.4g} +- {error:.2g}" for mean, error in zip(means, errors, strict=True)]


def _summary(row: Row, least: float, biased: bool) -> tuple[str, ...]:
    if biased or not math.isfinite(row.error):
        relative = "biased" if biased else "not finite"
    else:
        relative = f"{(least / row.error) ** 2:.3g}" if row.error else "exact"
    return (row.method, f"{row.variance.sum():.4g}", f"{row.seconds * 1e9:.3g} ns", f"{row.overall:.3g}", relative)
