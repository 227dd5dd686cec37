"""The function `estimate`: makes an Estimator, calls it once, and returns the Estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy.typing as npt

from mcgrad.distributions.base import Distribution
from mcgrad.engine.estimator import Estimator
from mcgrad.engine.options import Options, Request
from mcgrad.gradients.plan import GROUP, MethodNames
from mcgrad.inputs import arguments
from mcgrad.inputs.integrand import Integrand
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.sampler import REPLICATES, SCRAMBLES
from mcgrad.inputs.second import Hessian
from mcgrad.noise.source import PHILOX
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate


def estimate(
    f: Callable[..., Any] | Integrand | Objective,
    q: Distribution | None = None,
    n: int | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    wrt: str | Iterable[str] | None = None,
    cotangent: Any = None,
    hessian: Hessian = None,
    hvp: Any = None,
    hessian_method: str | None = None,
    covariance: bool = False,
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
    reduce: str | None = None,
    common_noise: bool = False,
    seed: int = 0,
    dtype: npt.DTypeLike | None = None,
    nonfinite: str = "propagate",
    backend: str = "auto",
    threads: int | None = None,
    devices: Iterable[int] | None = None,
    output: str = "host",
    progress: bool | Callable[[int], None] = False,
    rows: Any = None,
    out: Mapping[str, Any] | None = None,
    executor: Any = None,
    require_same: bool = False,
) -> Estimate | BatchEstimate:
    """Estimate E f(z), z ~ q, and its gradient in the parameters, by Monte Carlo.

    Parameters
    ----------
    f : callable, Integrand or Objective
        ``f(z, **params, **data)``: plain NumPy on one draw, returning a number, an array, or a nested dict of arrays;
        or what `elbo`, `iwae`, `kl` make.
    q : Distribution
        An objective has its own: ``mg.estimate(mg.elbo(log_joint, q), n=10_000)``.
    n : int
        Number of draws, at least 2; a multiple of the draws that are averaged together, where some are.
    params, data, wrt, cotangent, hessian, hvp, hessian_method, covariance, method, baseline, k
        As for `Estimator`: what is estimated, and how the gradient is.
    sampler, replicates, scramble, antithetic, control, coefficients, proposal
        As for `Estimator`: what reduces the error of n draws.
    batched_params, batched_data, reduce, common_noise
        As for `Estimator`, of batches.
    seed : int
        0 <= seed < 2**64.
    dtype, nonfinite, backend, threads, devices, output
        As for `Estimator`.
    progress, rows, out, executor, require_same
        As for a call of an `Estimator`.

    Returns
    -------
    Estimate, or BatchEstimate of a batch
        ``value``, ``stderr``, ``grad`` and ``grad_stderr``; with ``hessian=`` also ``hessian`` and ``hessian_stderr``.

    Notes
    -----
    The function is traced at every call, twice, which takes milliseconds; compiled code is found again wherever the
    traced Program is one that was compiled before, in this process or an earlier one. For many calls an `Estimator` is
    faster.

    Examples
    --------
    >>> est = mg.estimate(lambda z: np.sin(z), mg.Normal(0.3, 1.2), n=1_000_000)
    >>> est.grad["loc"], est.grad_stderr["loc"]
    """
    n = arguments.draws(n, q)
    seed = arguments.seed(seed)
    options = Options(
        params=params,
        data=data,
        wrt=wrt,
        cotangent=cotangent,
        hessian=hessian,
        hvp=hvp,
        hessian_method=hessian_method,
        covariance=covariance,
        method=method,
        baseline=baseline,
        k=k,
        sampler=sampler,
        replicates=replicates,
        scramble=scramble,
        antithetic=antithetic,
        control=control,
        coefficients=coefficients,
        proposal=proposal,
        batched_params=batched_params,
        batched_data=batched_data,
        reduce=reduce,
        common_noise=common_noise,
        dtype=dtype,
        nonfinite=nonfinite,
        backend=backend,
        threads=threads,
        draws=n,
        devices=devices,
        output=output,
    )
    given = {"rows": rows, "progress": progress, "out": out, "executor": executor, "require_same": require_same}
    return Estimator.of(Request(f, q, options))(n, seed, **given)
