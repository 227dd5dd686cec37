"""Compare methods for one gradient over the same draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

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
from mcgrad.gradients.second_plan import THEN
from mcgrad.inputs import arguments
from mcgrad.inputs.batch import spread
from mcgrad.inputs.control import controls as read_controls, names
from mcgrad.inputs.integrand import Integrand
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.sampler import REPLICATES, SAMPLERS, SCRAMBLES, Sampler
from mcgrad.inputs.second import Hessian
from mcgrad.ir.program import Program
from mcgrad.noise.source import PHILOX
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.tasks.remote import Remote, on
from mcgrad.validate.comparison import Comparison, Row, compared, total_error
from mcgrad.validate.curvature import Curvature
from mcgrad.validate.rows import problems

ROUNDS = 8  # pieces of the draws: each goes through every method before the next does
REPEATS = 3  # of a batch: times that each method averages all draws
WARM = 64  # groups of draws that every method sees once before it is timed
HALVINGS = 5  # of n, at which errors are also taken where samplers are compared: as many draws again in all
FEWEST = 64  # groups of draws at these
ROWS = 4  # of a batch, in which methods are compared with finite differences


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
    hessian: Hessian = None,
    hvp: Any = None,
    hessian_methods: str | Iterable[str | None] | None = None,
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
    """Estimate a gradient, or second derivatives, by several methods over the same draws.

    Parameters
    ----------
    f, q, n, params, data, wrt, cotangent, hessian, hvp, k
        As for `estimate`. With `hessian` or `hvp` it is second derivatives that are compared. n is rounded down to
        what every method can cut into its groups, and a sampler into its points.
    methods : iterable of str or dict, optional
        As `method` of `estimate`. Default: all that apply. One that is named and applies with none of the controls
        and samplers raises the error of `estimate`.
    hessian_methods : str, or iterable of str or None, optional
        As `hessian_method` of `estimate`: each method of the gradient has a row with each, named as in "pathwise,
        hessian score". Default: all that apply; None is what `estimate` chooses. Baselines do not change second
        derivatives, so that by default there are no methods with one, and of rows with the same ways the first.
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
        Gradient or second derivatives, standard error, variance of one draw, time of one draw, and 1 / (variance x
        time), by method; a table when printed; ``.plot()``.

    Notes
    -----
    One pass over the draws, in a few pieces: each piece goes through every method before the next does, so that other
    load of the machine affects all methods alike. Every method has a kernel of its own, as in `estimate`, whose time
    includes the draws and f. The noise of q is the same for all; methods that average draws in groups number draws in
    another way (docs/draws.md). The pilots of baselines and of control variates are not in the times. "auto" as a
    method is refused: it is one of the others. Second derivatives are held to differences of the gradient, as by
    `verify`, and the gradient to those of the value.

    Of a batch the gradient is that of the sum of the values over the rows, and its variance the sum of the variances
    of all its components: those in parameters by row, of every row, and those in parameters that rows share. Each
    method averages all draws a few times, as many draws a call as asked for, and the fastest counts. Finite differences
    are taken in the first row, the last, and two between.
    """
    n, seed = arguments.draws(n, q), arguments.seed(seed)
    options = Options(
        params=params,
        data=data,
        wrt=wrt,
        cotangent=cotangent,
        hessian=hessian,
        hvp=hvp,
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
    ways, second, seen = _ways(options, hessian_methods), options.has_second, set[Any]()
    asked = list(methods) if methods is not None else _methods(f, baselines=not second)
    estimators: dict[str, Estimator] = {}
    requests: dict[str, Request] = {}
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
    for method, way, control, sampler in product(asked, ways, sets, drawn):
        name = method if isinstance(method, str) else ", ".join(f"{path}: {one}" for path, one in method.items())
        if name == AUTO:
            raise ParameterError("methods", repr(AUTO), "the methods that it chooses from")
        of_way = [f"hessian {way or 'chosen'}"] if second else []
        name = ", ".join([name, *of_way, *names(control), *([sampler] if len(drawn) > 1 else [])])
        randomised = {"sampler": sampler, "replicates": replicates, "scramble": scramble} if sampler != PHILOX else {}
        requests[name] = request.change(method=method, control=control, hessian_method=way, **randomised)
        try:
            with without_jump_warnings():
                made = Estimator.of(requests[name])
        except (ParameterError, TraceError) as error:
            refused[name], failed[shown(method)] = str(error), error
        else:
            applied.add(shown(method))
            how = made.plan.second and (*made.plan.second.ways.items(), names(control), sampler)
            if methods is not None or how is None or how not in seen:
                estimators[name] = made
                seen.add(how)
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
    bare = request.change(wrt=(), hessian=None, hvp=None, method=DIFFERENCE.name, dtype="float64", backend="numpy")
    biased = _biased(estimators, requests, Estimator.of(bare).program, n, seed)
    return Comparison(rows, refused, compared(rows[0].estimate).names(), biased)


def _methods(f: Any, baselines: bool) -> list[str]:
    """Return the methods that suit an integrand, with or without those that have a baseline."""
    return [name for name, method in METHODS.items() if method.suits(f) and (baselines or name == method.base)]


def _ways(options: Options, given: str | Iterable[str | None] | None) -> list[str | None]:
    """Return what gradients are differentiated by: without second derivatives None, once."""
    if not options.has_second:
        if given is not None:
            raise ParameterError("hessian_methods", shown(given), "None without hessian= or hvp=")
        return [None]
    found: list[str | None] = [*THEN] if given is None else [given] if isinstance(given, str) else [*given]
    for way in found:
        if way is not None:
            arguments.one_of("hessian_methods", way, THEN)
    if not found:
        raise ParameterError("hessian_methods", "none", f"None, or some of {', '.join(map(repr, THEN))}")
    return found


def _biased(
    estimators: Mapping[str, Estimator], requests: Mapping[str, Request], value: Program, n: int, seed: int
) -> dict[str, float]:
    """Compare every method with finite differences; return by how many standard errors some are off."""
    first = next(iter(estimators.values()))
    batch, found = first.derived.batch, dict[str, float]()
    looked_at = problems(first, spread(batch.size, ROWS) if batch else [])
    curvatures = {name: _curvature(requests[name], each) for name, each in estimators.items() if each.plan.second}
    for problem in looked_at:
        differences = Differences(problem.q, value, problem.inputs, seed, first.dtype, of=first.derived.components)
        for name, estimator in estimators.items():
            given = {**problem.inputs, **estimator.derived.pilots(problem.inputs, seed)}
            check = differences.unpaired if estimator.plan.group > 1 else differences.check
            most = -(-COMPONENTS // len(looked_at))
            checks, _ = check(estimator.derived.of_result, given, most, min(n, CHECKED))
            if name in curvatures:
                checks += curvatures[name].check(problem, seed, most, min(n, CHECKED))[0]
            if z := farthest(checks):
                found[name] = max(z, found.get(name, 0.0))
    return {name: found[name] for name in estimators if name in found}


def _curvature(request: Request, estimator: Estimator) -> Curvature:
    """Return what compares the second derivatives of a method with differences, of independent draws."""
    settled = replace(request, plan=estimator.plan).change(sampler=PHILOX, backend="numpy", draws=None, threads=None)
    settled = settled.change(replicates=REPLICATES, scramble=SCRAMBLES[0])
    with without_jump_warnings():
        return Curvature(settled, Estimator.of(settled) if estimator.derived.sampler.is_point_set else estimator)


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
        variance = np.square(compared(whole).errors) * whole.n
    return Row(method, whole, variance, min(part.seconds / part.n for part in timed))


def _errors(row: Row, estimator: Estimator, seed: int, remote: Remote | None) -> tuple[tuple[int, float], ...]:
    """Return the errors with the draws of a row, and with halvings of these."""
    found = {row.estimate.n: total_error(row.estimate)}
    for k in range(1, HALVINGS + 1):
        n = estimator.derived.whole(row.estimate.n >> k)
        if n >= FEWEST * estimator.group and n < min(found):
            found[n] = total_error(estimator(n, seed, executor=remote))
    return tuple(sorted(found.items()))
