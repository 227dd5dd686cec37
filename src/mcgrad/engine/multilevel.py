"""Multilevel Monte Carlo: E of a limit as a sum of differences of levels, each with as many draws as it is worth.

Fine levels are costly and their differences small, so that most draws are of the coarse ones: for a root mean square
error e the cost is about e^-2, where draws of the finest level alone would take e^-3 (Giles 2008, theorem 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy.typing as npt

from mcgrad.distributions.base import Distribution
from mcgrad.engine.level_runs import LevelProgram, LevelRun
from mcgrad.engine.multilevel_run import run, warn
from mcgrad.engine.options import Options
from mcgrad.engine.progress import reporting_levels
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.plan import GROUP, MethodNames
from mcgrad.inputs import arguments
from mcgrad.inputs.coupling import LEVEL, Coupling
from mcgrad.inputs.sampler import REPLICATES, SCRAMBLES
from mcgrad.noise.source import PHILOX
from mcgrad.pickles import HoldsFunctions
from mcgrad.results.estimate import Estimate
from mcgrad.results.multilevel_estimate import MultilevelEstimate
from mcgrad.results.multilevel_rule import DEEPEST, FIRST, SHARE, START, MultilevelRule
from mcgrad.results.stopping import ALL, MOST
from mcgrad.tasks.remote import on


class Multilevel(HoldsFunctions):
    """Multilevel estimates of one problem: f and q at each level are traced and compiled once.

    Parameters
    ----------
    f : callable
        ``f(z, *, level, **params, **data)``: plain NumPy on one draw, as of an `Estimator`; `level` is a Python int
        from 0 on, and each level costs more and is nearer to what is wanted. The value has the same shape at all.
        An f that reads the level from z needs no argument for it.
    q : callable or Distribution
        ``q(level)`` returns the distribution of a level's draws; or one distribution for all levels.
    params, data
        As of an `Estimator`: the same at all levels.
    wrt : str or iterable of str, optional
        Names of parameters to differentiate in. Default: all in `params`. Those of q that are the same at all levels
        may be named.
    coarsen : callable, optional
        Makes of a draw of a level one of the level before: plain NumPy. A tuple of several stands for the mean of f
        over them, as of antithetic coupling. Each has to have the distribution of the level before, or the sum of the
        levels is another expectation. Default: normals of mean 0 of which there are more on each level,
        ``mg.Normal(np.zeros(steps), scale)``, are increments of a path, and neighbours are added; what has the same
        distribution at both levels stays as it is.
    cost : callable, optional
        ``cost(level)``: of one draw of the difference. Default: the count of multiplications in the Program.
    cotangent, method, baseline, k, sampler, replicates, scramble, antithetic, control, coefficients
        As of an `Estimator`. With ``sampler="sobol"`` each level has points of its own, and the number of one level's
        is doubled at a time (Giles and Waterhouse 2009).
    dtype, backend, threads
        As of an `Estimator`.
    nonfinite : {"propagate", "raise"}

    Raises
    ------
    ParameterError, TraceError
        As of an `Estimator`, of levels 0 and 1 at once, and of later ones when they are needed.

    Notes
    -----
    Of one problem: there are no batches of levels, and no proposals.

    A pickle holds the arguments, functions that are not importable as code; levels are traced again where it arrives.

    Examples
    --------
    >>> levels = mg.Multilevel(f, lambda level: mg.Normal(np.zeros(2**level), 1.0), params={"vol": 0.2})
    >>> levels(rtol=0.01, vol=0.3).grad["vol"]
    """

    def __init__(
        self,
        f: Callable[..., Any],
        q: Callable[[int], Distribution] | Distribution,
        *,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        wrt: str | Iterable[str] | None = None,
        coarsen: Callable[..., Any] | None = None,
        cost: Callable[[int], float] | None = None,
        cotangent: Any = None,
        method: MethodNames = "pathwise",
        baseline: str | None = None,
        k: int = GROUP,
        sampler: str = PHILOX,
        replicates: int = REPLICATES,
        scramble: str = SCRAMBLES[0],
        antithetic: bool = False,
        control: Any = None,
        coefficients: str | None = None,
        dtype: npt.DTypeLike | None = None,
        nonfinite: str = "propagate",
        backend: str = "auto",
        threads: int | None = None,
    ) -> None:
        for name, given in (("params", params), ("data", data)):
            if LEVEL in arguments.mapping(name, given):
                raise ParameterError(f"{name}[{LEVEL!r}]", "a name that f is given the level by", "another name")
        if nonfinite == "omit":
            accepted = '"propagate" or "raise": what is left out of a level and of the next would not be the same'
            raise ParameterError("nonfinite", "'omit' of a multilevel estimate", accepted)
        if cost is not None and not callable(cost):
            raise ParameterError("cost", shown(cost), "None, or a function of the level that returns a number above 0")
        self._coupling, self._cost = Coupling(f, q, coarsen), cost
        self._options = Options(
            params=params,
            data=data,
            wrt=tuple(arguments.mapping("params", params)) if wrt is None else wrt,
            cotangent=cotangent,
            method=method,
            baseline=baseline,
            k=k,
            sampler=sampler,
            replicates=replicates,
            scramble=scramble,
            antithetic=antithetic,
            control=control,
            coefficients=coefficients,
            dtype=dtype,
            nonfinite=nonfinite,
            backend=backend,
            threads=threads,
        )
        self._programs: list[LevelProgram] = []
        self.program(1)

    def __getstate__(self) -> dict[str, Any]:
        """Return the arguments: levels are traced again where a pickle arrives."""
        return super().__getstate__() | {"_programs": []}

    def program(self, level: int) -> LevelProgram:
        """Return the Programs of a level."""
        while len(self._programs) <= level:
            new = LevelProgram(self._coupling, len(self._programs), self._options, self._cost)
            if self._programs:
                new.check_like(self._programs[0])
            self._programs.append(new)
        return self._programs[level]

    def explain(self, level: int) -> str:
        """Return the Program of the difference at a level, the backend and the source that runs, as text."""
        return self.program(arguments.count("level", level, 0)).estimator(START).explain()

    def __call__(
        self,
        rtol: float = 1e-2,
        *,
        atol: float = 0.0,
        of: str | Iterable[str] = ALL,
        seed: int = 0,
        bias_share: float = SHARE,
        alpha: float | None = None,
        start: int = START,
        min_level: int = FIRST,
        max_level: int = DEEPEST,
        max_draws: int = MOST,
        max_cost: float | None = None,
        max_seconds: float | None = None,
        progress: bool | Callable[[int], None] = False,
        resume: MultilevelEstimate | None = None,
        executor: Any = None,
        require_same: bool = False,
        **changes: Any,
    ) -> MultilevelEstimate:
        """Estimate until the root mean square error is within a tolerance.

        Parameters
        ----------
        rtol, atol : float
            The run ends where, for each component of each part, sqrt(stderr^2 + bias^2) <= rtol * s + atol, with s the
            largest absolute value in the part.
        of : {"all", "value", "grad"} or iterable of str
            The parts, as of `Estimator.until`: the value, all of the gradient, each of the two, or the gradients in
            some parameters, each by itself.
        seed : int
            0 <= seed < 2**64. Each level has independent draws, of a seed that is made of this one.
        bias_share : float
            Which part of the square of the tolerance is for the bias; the rest is for the variance.
        alpha : float, optional
            The rate 2^(-alpha l) at which the means of the differences fall, where it is known. Default: estimated.
        start : int
            Draws that each level has at least, and its pilot; of points the next number that there may be.
        min_level, max_level : int
            The last level at first, at least 2, and at most.
        max_draws : int
            Of each level.
        max_cost : float, optional
            Of all draws, in multiplications or in the unit of ``cost=``; the `start` draws of the first levels are made
            in any case.
        max_seconds : float, optional
            Time of this call: it makes as many draws as its speed so far lets it expect to have the time for.
        progress : bool or callable
            Whether to show a bar, with the draws of all levels that are expected; or a function to call with the number
            of draws done.
        resume : MultilevelEstimate, optional
            An earlier estimate of the same problem and seed, such as one that ended at a limit, or of a larger
            tolerance: its draws are not made again. It may come from a file, ``MultilevelEstimate.from_json``.
        executor, require_same
            As for a call of an `Estimator`.
        **changes
            New values of parameters and of float data.

        Returns
        -------
        MultilevelEstimate
            The same bits for any threads and executors of one kind.

        Warns
        -----
        ToleranceWarning
            The run has ended at a limit, or with components that are not finite.
        MultilevelWarning
            The means of f at a level are not the same as the coarse part of the next level has; the differences have
            nearly the variance of f; or few draws decide what the standard error is, by the kurtosis of differences.

        Raises
        ------
        ParameterError
        """
        seed = arguments.seed(seed)
        rule = MultilevelRule(
            rtol=rtol,
            atol=atol,
            of=of,
            bias_share=bias_share,
            alpha=alpha,
            start=start,
            min_level=min_level,
            max_level=max_level,
            max_draws=max_draws,
            max_cost=max_cost,
            max_seconds=max_seconds,
        ).for_components(self.program(0).derived.components)
        earlier = () if resume is None else self._earlier(resume, seed, changes)
        with (
            on(executor, arguments.flag("require_same", require_same)) as remote,
            reporting_levels(progress, remote) as report,
        ):

            def start_level(i: int) -> LevelRun:
                done = earlier[i] if i < len(earlier) else None
                return LevelRun(self.program(i), changes, seed, rule.start, remote, done)

            found = run(start_level, rule, seed, report, len(earlier))
        warn(found)
        return found

    def _earlier(self, resume: Any, seed: int, changes: Mapping[str, Any]) -> tuple[Estimate, ...]:
        """Return the estimates of the levels of an earlier run, checked to be of this problem and seed."""
        if not isinstance(resume, MultilevelEstimate):
            raise ParameterError("resume", shown(resume), "a MultilevelEstimate, which from_json reads from a file")
        if resume.seed != seed:
            raise ParameterError("resume", f"an estimate of seed {resume.seed}", f"one of seed {seed}, as seed= is")
        for i, level in enumerate(resume.levels):
            self.program(i).check_resumes(level.estimate, changes)
        return tuple(level.estimate for level in resume.levels)


def mlmc(
    f: Callable[..., Any],
    q: Callable[[int], Distribution] | Distribution,
    rtol: float = 1e-2,
    *,
    atol: float = 0.0,
    of: str | Iterable[str] = ALL,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    wrt: str | Iterable[str] | None = None,
    coarsen: Callable[..., Any] | None = None,
    cost: Callable[[int], float] | None = None,
    cotangent: Any = None,
    method: MethodNames = "pathwise",
    baseline: str | None = None,
    k: int = GROUP,
    sampler: str = PHILOX,
    replicates: int = REPLICATES,
    scramble: str = SCRAMBLES[0],
    antithetic: bool = False,
    control: Any = None,
    coefficients: str | None = None,
    seed: int = 0,
    bias_share: float = SHARE,
    alpha: float | None = None,
    start: int = START,
    min_level: int = FIRST,
    max_level: int = DEEPEST,
    max_draws: int = MOST,
    max_cost: float | None = None,
    max_seconds: float | None = None,
    progress: bool | Callable[[int], None] = False,
    resume: MultilevelEstimate | None = None,
    dtype: npt.DTypeLike | None = None,
    nonfinite: str = "propagate",
    backend: str = "auto",
    threads: int | None = None,
    executor: Any = None,
    require_same: bool = False,
) -> MultilevelEstimate:
    """Estimate the limit of E f_l(z), z ~ q_l, over levels l, and its gradient, to a tolerance (Giles 2015).

    The limit is E f_0 and the sum of E [f_l - f_(l-1)], where both are of one draw. Each difference has as many draws
    as its variance and its cost ask for, and there are as many levels as the bias asks for.

    Parameters
    ----------
    f, q, params, data, wrt, coarsen, cost, cotangent, method, baseline, k
        As for `Multilevel`: what is estimated, how levels are coupled, and how the gradient is estimated.
    sampler, replicates, scramble, antithetic, control, coefficients
        As for `Multilevel`: what reduces the error of a number of draws.
    rtol, atol, of, seed, bias_share, alpha, start, min_level, max_level, max_draws, max_cost, max_seconds
        As for a call of a `Multilevel`: the tolerance, and the limits.
    progress, resume, executor, require_same
        As for a call of a `Multilevel`.
    dtype, nonfinite, backend, threads
        As for `Multilevel`.

    Returns
    -------
    MultilevelEstimate
        ``value``, ``stderr``, ``bias``, ``grad``, ``grad_stderr``, ``grad_bias``, ``levels``, and rates ``alpha``,
        ``beta``, ``gamma``.

    References
    ----------
    Giles, Multilevel Monte Carlo path simulation, Operations Research 56, 2008. Giles, Multilevel Monte Carlo methods,
    Acta Numerica 24, 2015. Burgos and Giles, Computing Greeks using multilevel path simulation, Monte Carlo and
    Quasi-Monte Carlo Methods 2010, 2012. Giles and Waterhouse, Multilevel quasi-Monte Carlo path simulation, Advanced
    Financial Modelling, 2009.

    Examples
    --------
    A call by Euler's scheme with 2^level steps, and its delta and vega:

    >>> def payoff(z, *, level, spot, vol):
    ...     h = 1.0 / 2**level
    ...     return np.maximum(spot * np.prod(1.0 + vol * np.sqrt(h) * z) - 1.0, 0.0)
    >>> est = mg.mlmc(payoff, lambda level: mg.Normal(np.zeros(2**level), 1.0), rtol=0.01,
    ...               params={"spot": 1.0, "vol": 0.2})
    >>> est.value, est.stderr, est.bias, est.grad["vol"]
    """
    levels = Multilevel(
        f,
        q,
        params=params,
        data=data,
        wrt=wrt,
        coarsen=coarsen,
        cost=cost,
        cotangent=cotangent,
        method=method,
        baseline=baseline,
        k=k,
        sampler=sampler,
        replicates=replicates,
        scramble=scramble,
        antithetic=antithetic,
        control=control,
        coefficients=coefficients,
        dtype=dtype,
        nonfinite=nonfinite,
        backend=backend,
        threads=threads,
    )
    return levels(
        rtol,
        atol=atol,
        of=of,
        seed=seed,
        bias_share=bias_share,
        alpha=alpha,
        start=start,
        min_level=min_level,
        max_level=max_level,
        max_draws=max_draws,
        max_cost=max_cost,
        max_seconds=max_seconds,
        progress=progress,
        resume=resume,
        executor=executor,
        require_same=require_same,
    )
