"""Check an estimate: every backend against the reference, and the gradient against finite differences.

`verify` is the public function, `verified` the same for the arguments of an Estimator as a value, as jobs have them.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends import registry
from mcgrad.distributions.base import Distribution
from mcgrad.engine.estimator import Estimator
from mcgrad.engine.finite_differences import MANY, Differences, GradientCheck
from mcgrad.engine.options import Options, Request
from mcgrad.engine.quotients import STEP
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.jump_check import without_jump_warnings
from mcgrad.gradients.methods import named
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.plan import GROUP, MethodNames
from mcgrad.inputs import arguments
from mcgrad.inputs.batch import spread
from mcgrad.inputs.integrand import Integrand
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.sampler import REPLICATES, SCRAMBLES
from mcgrad.inputs.second import Hessian
from mcgrad.noise.source import PHILOX
from mcgrad.results.columns import aligned
from mcgrad.validate.agreement import BackendCheck, agreement
from mcgrad.validate.curvature import Curvature
from mcgrad.validate.rows import MOST, averaged, problems

REFERENCE = "numpy"
BIASED = "The gradient is not that of the expectation."
BENT = (
    "Second derivatives are not those of the gradient. It may jump where no kink was found: hessian_method= has others."
)
WIDTH = 118  # of its lines
NOT_FINITE = (
    "Some draws are not finite: as they are, or once a parameter moves by a step, which may leave the region where the",
    "integrand is defined.",
)


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes
    ----------
    backends : tuple of BackendCheck
    gradient : tuple of GradientCheck
        Of the components looked at.
    components : int
        Components that the gradient has.
    n, gradient_n : int
        Draws for the backends and for the finite differences.
    dtype : str
        Of the backends and of the gradient; finite differences of the same draws are float64.
    seed : int
    method : str or dict of str to str
        As `Estimate.method`.
    rows : tuple of int
        Of a batch, the rows that were looked at, counted in C order; backends with common noise are at all.
    batch : int or None
        Rows of the batch.
    second : tuple of GradientCheck
        Of second derivatives, where there are any, compared with differences of the gradient.
    second_components, second_n : int
        Second derivatives that there are, and draws for these differences.
    second_method : str or dict of str to str
        As `Estimate.hessian_method`.
    """

    backends: tuple[BackendCheck, ...]
    gradient: tuple[GradientCheck, ...]
    components: int
    n: int
    gradient_n: int
    dtype: str
    seed: int
    method: str | dict[str, str] = PATHWISE.name
    rows: tuple[int, ...] = ()
    batch: int | None = None
    second: tuple[GradientCheck, ...] = ()
    second_components: int = 0
    second_n: int = 0
    second_method: str | dict[str, str] = ""

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        derivatives = (*self.gradient, *self.second)
        return all(check.ok for check in self.backends) and all(check.ok for check in derivatives)

    def __str__(self) -> str:
        each = "" if self.batch is None else f" of each of {self._rows()}"
        head = f"backends against {REFERENCE}, the same {self.n:,} draws{each}, {self.dtype}"
        lines = [*textwrap.wrap(head, WIDTH), *self._backend_lines()]
        if self.gradient:
            by = "" if self.method == PATHWISE.name else f" by {self.method}"
            what = f"gradient{by} in {self.dtype} against central differences in float64"
            some = f"{_some(self.gradient, self.components)} components"
            lines += ["", f"{what}, the same {self.gradient_n:,} draws, {some}", *_table(self.gradient)]
        if self.second:
            what = f"second derivatives in {self.dtype} against central differences of the gradient in float64"
            some = _some(self.second, self.second_components)
            lines += ["", f"{what}, the same {self.second_n:,} draws, {some}", *_table(self.second)]
        if any(math.isfinite(check.z) for check in self.gradient if not check.ok):
            lines += ["", *textwrap.wrap(f"{BIASED} {' '.join(self._reasons())}", WIDTH)]
        if any(math.isfinite(check.z) for check in self.second if not check.ok):
            lines += ["", *textwrap.wrap(f"{BENT} They are by {self.second_method}.", WIDTH)]
        wrong = [check for check in (*self.gradient, *self.second) if not check.ok]
        if any(not math.isfinite(check.z) for check in wrong):
            lines += ["", *NOT_FINITE]
        return "\n".join([*lines, "", "ok" if self.ok else "NOT OK"])

    def _rows(self) -> str:
        """Name the rows that were looked at."""
        if len(self.rows) == self.batch:
            return f"the {self.batch:,} rows"
        return f"{len(self.rows)} of {self.batch:,} rows ({', '.join(map(str, self.rows))})"

    def _reasons(self) -> Iterable[str]:
        """Say what biases the methods that were used, once each."""
        names = [self.method] if isinstance(self.method, str) else self.method.values()
        return dict.fromkeys(named(name).biased_by for name in names)

    def _backend_lines(self) -> list[str]:
        rows = [("backend", "ulps", "relative", "std. errors", "largest in", "")]
        for check in self.backends:
            if check.unavailable is not None:
                rows.append((check.backend, "", "", "", "", f"not available: {check.unavailable}"))
            else:
                numbers = (f"{check.ulps:.3g}", f"{check.relative:.2g}", f"{check.z:.2g}")
                rows.append((check.backend, *numbers, check.worst, _verdict(check.ok)))
        return [f"  {line}" for line in aligned(rows, left=(0, 5))]


def verify(
    f: Callable[..., Any] | Integrand | Objective,
    q: Distribution | None = None,
    n: int = 20_000,
    *,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    wrt: str | Iterable[str] | None = None,
    cotangent: Any = None,
    hessian: Hessian = None,
    hvp: Any = None,
    hessian_method: str | None = None,
    method: MethodNames = "pathwise",
    baseline: str | None = None,
    k: int = GROUP,
    sampler: str = PHILOX,
    replicates: int = REPLICATES,
    scramble: str = SCRAMBLES[0],
    antithetic: bool = False,
    control: Any = None,
    coefficients: str | None = None,
    proposal: Distribution | None = None,
    batched_params: str | Iterable[str] = (),
    batched_data: str | Iterable[str] = (),
    common_noise: bool = False,
    seed: int = 0,
    dtype: npt.DTypeLike | None = None,
    backends: str | Iterable[str] | None = None,
    step: float | None = None,
    components: int = 32,
    rows: int = MOST,
) -> Verification:
    """Check what `estimate` gives for a problem, by other means.

    Parameters
    ----------
    f, q, params, data, wrt, cotangent, method, baseline, k, antithetic, proposal
        As for `estimate`.
    hessian, hvp, hessian_method
        As for `estimate`: then second derivatives are compared with finite differences of the gradient.
    sampler, replicates, scramble
        As for `estimate`: what the backends are compared on. Finite differences have independent draws.
    control, coefficients
        As for `estimate`. With control variates the gradient of single draws is that with a pilot's coefficients.
    batched_params, batched_data, common_noise, seed, dtype
        As for `estimate`.
    n : int
        Draws on which the backends are compared, rounded down to what a run may have; for finite differences between
        4,000 and 20,000.
    backends : str or iterable of str, optional
        Default: all that can run here.
    step : float, optional
        Step of the finite differences: relative to the standard deviation of what the parameter moves, for q's
        parameters; relative to the parameter's size, for f's own. Default 1/32, and less where f bends too much.
    components : int
        At most so many components of the gradient are compared with finite differences, chosen at random from `seed`
        where there are more; of a batch about as many in each row as make so many in all. So are second derivatives.
    rows : int
        Of a batch, look at so many rows at most: at the first, the last, and others at equal distances between them.

    Returns
    -------
    Verification
        ``.ok``, and a table when printed.

    Notes
    -----
    Finite differences are S = (4 S(h) - S(2h)) / 3 with S(h) = (f at phi + h - f at phi - h) / 2h, draw by draw with
    the same noise, on the NumPy backend, with at least 4,000 draws. The gradient is in the dtype that runs, S in
    float64 from the same draws and parameters: so a gradient that is biased by rounding shows, too. z is the mean of
    (gradient - S) over its standard error, to which what rounds and what the quotient leaves out are added. A gradient
    that is biased because f jumps shows as a large z; it takes enough draws near the jump: a z of about sqrt(n / 32)
    where the jump is all there is.

    The quotients are of the expectation, so that they judge any method: S has the same mean whatever the gradient was
    estimated by, and also where f, or the draw itself, jumps. Paired with a pathwise gradient its noise cancels; with
    others z has the noise of both, and finds less. Draws that are averaged in groups are so in S.

    Second derivatives, however they were estimated, are compared with S of the gradient, which the first comparison is
    about: of the gradient in one parameter, moved in the other, or along the vector of ``hvp``. A kink that is
    differentiated twice along draws shows as a large z. Where the gradient is itself by differences, that in the other
    parameter takes its place, or the score.

    Of a batch the backends average the rows that are looked at, and the sums over these; with common noise all rows.
    Finite differences are taken in each of them by itself, from draws of seeds that follow `seed`: those in a parameter
    that rows share are of that row's own value.
    """
    options = Options(
        params=params,
        data=data,
        wrt=wrt,
        cotangent=cotangent,
        hessian=hessian,
        hvp=hvp,
        hessian_method=hessian_method,
        method=method,
        baseline=baseline,
        k=k,
        dtype=dtype,
        backend=REFERENCE,
        sampler=sampler,
        replicates=replicates,
        scramble=scramble,
        antithetic=antithetic,
        control=control,
        coefficients=coefficients,
        proposal=proposal,
        batched_params=batched_params,
        batched_data=batched_data,
        common_noise=common_noise,
    )
    return verified(Request(f, q, options), n, seed, backends, step, components, rows)


def verified(
    request: Request,
    n: int,
    seed: int,
    backends: str | Iterable[str] | None = None,
    step: float | None = None,
    components: int = 32,
    rows: int = MOST,
) -> Verification:
    """Check an estimate as `verify` does, by the arguments of an `Estimator`; non-finite draws are not left out."""
    seed = arguments.seed(seed)
    n = arguments.count("n", n, 2)
    components, rows = arguments.count("components", components, 1), arguments.count("rows", rows, 1)
    if step is None:
        step = STEP
    elif isinstance(step, bool) or not isinstance(step, int | float | np.floating) or not 0 < step < 1:
        raise ParameterError("step", shown(step), "a number between 0 and 1, such as 0.03")
    request = request.change(backend=REFERENCE, threads=None, nonfinite="propagate", draws=None)
    with without_jump_warnings():
        reference = Estimator.of(request)
        batch, sampler = reference.derived.batch, reference.derived.sampler
        n, chosen = reference.derived.whole(n), spread(batch.size, rows) if batch else []
        checks = _backends(reference, request.options, backends, n, seed, chosen)
        settled = replace(request, plan=reference.plan)  # without another pilot under "auto"
        settled = settled.change(common_noise=False, sampler=PHILOX, replicates=REPLICATES, scramble=SCRAMBLES[0])
        bare = settled.change(wrt=(), covariance=False, control=None, hessian=None, hvp=None, hessian_method=None)
        value = Estimator.of(bare.change(dtype="float64")).program
        other = sampler.is_point_set or (batch and batch.common_noise)
        one = Estimator.of(settled) if other else reference
        curvature = Curvature(settled, one) if one.plan.second else None
    of, program, used, whole = one.derived.components, one.derived.of_result, 0, 0
    gradient: list[GradientCheck] = []
    second: list[GradientCheck] = []
    bends = 0
    found = problems(one, chosen)
    for i, problem in enumerate(found):
        own = (seed + i) % 2**64  # so that other components are chosen in each row
        differences = Differences(problem.q, value, problem.inputs, own, one.dtype, float(step), of)
        given, most = one.derived.pilots(problem.inputs, own), -(-components // len(found))
        some, used = differences.check(program, given, most, min(n, MANY))
        gradient += [replace(check, component=problem.named(check.component)) for check in some]
        whole += len(differences.components(program))
        if curvature:
            some, bends = curvature.check(problem, own, most, min(n, MANY), float(step))
            second += some
    return Verification(
        checks,
        tuple(gradient),
        whole,
        n,
        used,
        one.dtype,
        seed,
        one.plan.method,
        tuple(chosen),
        batch.size if batch else None,
        tuple(second),
        curvature.count * len(found) if curvature else 0,
        bends,
        of.second.method,
    )


def _backends(
    reference: Estimator,
    options: Options,
    asked: str | Iterable[str] | None,
    n: int,
    seed: int,
    rows: Sequence[int],
) -> tuple[BackendCheck, ...]:
    known = registry.backends()
    asked = [asked] if isinstance(asked, str) else asked
    names = list(known) if asked is None else [registry.find(name).name for name in asked]
    right = averaged(reference, rows, n, seed)
    checks = []
    for name in dict.fromkeys(names):
        reason = known[name].unavailable()
        if name == REFERENCE:
            continue
        if reason is not None:
            checks.append(BackendCheck(name, reason))
            continue
        other = Estimator.of_derivation(reference.derived, replace(options, backend=name))
        checks.append(agreement(right, averaged(other, rows, n, seed)))
    return tuple(checks)


def _some(checks: Sequence[GradientCheck], count: int) -> str:
    """Say how many of all were looked at."""
    return f"{len(checks):,} of {count:,}" if len(checks) < count else "all"


def _table(checks: Iterable[GradientCheck]) -> list[str]:
    rows = [("component", "estimated", "difference quotient", "std. error", "z", "")]
    rows += [
        (
            check.component,
            f"{check.estimated:.8g}",
            f"{check.finite_difference:.8g}",
            f"{check.stderr:.2g}",
            f"{check.z:.2f}",
            _verdict(check.ok),
        )
        for check in checks
    ]
    return [f"  {line}" for line in aligned(rows, left=(0, 5))]


def _verdict(ok: bool) -> str:
    return "ok" if ok else "NOT OK"
