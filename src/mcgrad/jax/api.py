"""The functions `expectation` and `estimate`: from the arguments of the user to the op, and to its results by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.inputs import arguments
from mcgrad.jax import pytrees, seeds
from mcgrad.jax.operands import Operands
from mcgrad.jax.primitive import bind
from mcgrad.results.flat import cut


class Estimate(NamedTuple):
    """An estimate of E f(z) and of its gradient, with standard errors: JAX arrays, or tracers of them.

    Attributes
    ----------
    value, stderr : array, or nested dict of arrays
        Estimate of E f(z), which JAX differentiates, and its standard error.
    grad, grad_stderr : dict
        Estimate of the gradient in each parameter, those of q and those that only f has, and its standard errors:
        by name, in the structure of the parameter. Where f returns an array, its axes come before the parameter's;
        where it returns a dict, there is one inside each parameter.
    nonfinite : int32 array of shape ()
        Draws whose value or gradient was not finite.
    """

    value: Any
    stderr: Any
    grad: dict[str, Any]
    grad_stderr: dict[str, Any]
    nonfinite: Any


def expectation(
    f: Any,
    q: Callable[..., Distribution] | Distribution | None,
    n: int,
    key: Any,
    *,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    method: str | Mapping[str, str] = "pathwise",
    baseline: str | None = None,
    k: int | None = None,
    dtype: Any = None,
    backend: str = "auto",
    threads: int | None = None,
    nonfinite: str = "propagate",
    batched_params: str | Iterable[str] = (),
    batched_data: str | Iterable[str] = (),
    reduce: str | None = None,
    antithetic: bool = False,
    callback: bool = False,
    **q_params: Any,
) -> Any:
    """Estimate E f(z), z ~ q, as a JAX array whose derivative is the gradient that mcgrad estimates.

    Parameters
    ----------
    f : callable, Integrand or Objective
        ``f(z, **params, **data)``: plain NumPy on one draw, returning a number, an array, or a nested dict of arrays;
        or what `elbo`, `iwae`, `kl` make. It is traced once: the same function object must mean the same function.
    q : callable or Distribution or None
        A family, such as ``mcgrad.Normal``, whose parameters are then given by name, or another function that makes a
        distribution of its parameters by name; or a distribution, of which any subset of the parameters is given by
        name, those of a `Joint` as dicts, and the rest stay. None for an objective, which has its own.
    n : int
        Number of draws, at least 2.
    key : key of jax.random, or int
        ``jax.random.key(s)`` gives the draws of ``mcgrad.estimate(..., seed=s)``.
    params : dict of str to pytree, optional
        Parameters that only f has.
    data : dict of str to array, optional
        Float arrays, or integers and booleans that are not traced, as they are part of the compiled code.
    method, baseline, k, backend, threads, nonfinite
        As for `Estimator`. Under "auto" a pilot at the values of the first execution chooses.
    dtype : {"float32", "float64"}, optional
        Default: that of JAX's promotion of parameters and data; float32 for narrower ones.
    batched_params, batched_data
        As for `Estimator`. With these, or ``batch_ndim=`` among the parameters of a family, there are many problems:
        the rows of a batch, whose draws are those of ``mcgrad.estimate`` of the batch.
    reduce : {None, "sum", "mean"}
        Of a batch: None for values by row; "sum" or "mean" for one value, for which gradients in parameters that rows
        share need no memory by row.
    antithetic : bool
        As for `Estimator`.
    callback : bool
        Whether the call goes through `jax.pure_callback`, as it does where XLA has no foreign function interface that
        mcgrad knows. Results are the same.
    **q_params
        Parameters of q: arrays or floats. Of a family values of other types, such as a number of trials, are part of
        the compiled code.

    Returns
    -------
    array, or nested dict of arrays
        As f returns them, behind the axes of the batch.

    Raises
    ------
    ParameterError, TraceError
        As `Estimator`, while JAX traces. What is found out when the compiled function runs, such as a scale that is
        negative, is raised by JAX as a ``jax.errors.JaxRuntimeError`` with the message of the ParameterError.

    Notes
    -----
    The gradient in those parameters in which JAX differentiates is estimated with the value, from the same draws.
    Of an f that returns arrays all derivatives are: prod(shape) times the size of each parameter. Forward and reverse
    mode are there; second derivatives are refused. Under `jax.vmap` each row is estimated as in a
    loop: rows with a key each have draws of their own, rows that share a key have the same draws. Data have no
    derivative.

    Examples
    --------
    >>> def loss(phi, key):
    ...     return mcgrad.jax.expectation(f, mg.Normal, 1000, key, loc=phi["loc"], scale=jnp.exp(phi["log_scale"]))
    >>> value, grad = jax.jit(jax.value_and_grad(loss))(phi, jax.random.key(0))
    """
    options = _options(
        batched_params,
        batched_data,
        reduce,
        method=method,
        baseline=baseline,
        k=k,
        backend=backend,
        threads=threads,
        nonfinite=nonfinite,
        antithetic=antithetic or None,
    )
    operands = Operands.of(f, q, n, params, data, q_params, dtype, options)
    value = bind(operands.call(errors=False, callback=callback), seeds.words(key), operands.arrays)[0]
    return cut(value, operands.static.value, len(operands.static.value_shape) - len(operands.static.shape))


def estimate(
    f: Any,
    q: Callable[..., Distribution] | Distribution | None,
    n: int,
    key: Any,
    *,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    method: str | Mapping[str, str] = "pathwise",
    baseline: str | None = None,
    k: int | None = None,
    dtype: Any = None,
    backend: str = "auto",
    threads: int | None = None,
    nonfinite: str = "propagate",
    batched_params: str | Iterable[str] = (),
    batched_data: str | Iterable[str] = (),
    reduce: str | None = None,
    antithetic: bool = False,
    callback: bool = False,
    **q_params: Any,
) -> Estimate:
    """Estimate E f(z) and its gradient in all parameters, with standard errors, as JAX arrays.

    Parameters
    ----------
    f, q, n, key, params, data, method, baseline, k, dtype, backend, threads, nonfinite, callback, **q_params
        As for `expectation`.
    batched_params, batched_data, reduce, antithetic
        As for `expectation`. By row, gradients in parameters that rows share are by row, too.

    Returns
    -------
    Estimate
        Its `value` can be differentiated; derivatives of the other fields are refused where they are used.

    Examples
    --------
    >>> est = mcgrad.jax.estimate(f, mg.Normal, 1000, key, loc=loc, scale=scale)
    >>> est.grad["loc"], est.grad_stderr["loc"]
    """
    options = _options(
        batched_params,
        batched_data,
        reduce,
        method=method,
        baseline=baseline,
        k=k,
        backend=backend,
        threads=threads,
        nonfinite=nonfinite,
        antithetic=antithetic or None,
    )
    operands = Operands.of(f, q, n, params, data, q_params, dtype, options)
    call = operands.call(errors=True, callback=callback)
    value, *rest = bind(call, seeds.words(key), operands.arrays)
    grads, (stderr, *stderrs), nonfinite_draws = rest[: len(call.wrt)], rest[len(call.wrt) : -1], rest[-1]

    static = operands.static
    front = len(static.value_shape) - len(static.shape)

    def named(found: list[Any]) -> dict[str, Any]:
        axes = [len(static.batch_shape) if path in static.by_row else front for path in call.wrt]
        parts = {path: cut(x, static.value, axis) for path, x, axis in zip(call.wrt, found, axes, strict=True)}
        return pytrees.like(operands.structures, tree.unflatten(parts) if parts else {})

    own, errors = cut(value, static.value, front), cut(stderr, static.value, front)
    return Estimate(own, errors, named(grads), named(stderrs), nonfinite_draws)


def _options(
    batched_params: str | Iterable[str], batched_data: str | Iterable[str], reduce: str | None, **plain: Any
) -> dict[str, Any]:
    """Return the arguments of an Estimator, without those that are left to it."""
    options = {name: value for name, value in plain.items() if value is not None}
    if reduce is not None:
        options["reduce"] = arguments.one_of("reduce", reduce, ("sum", "mean"))
    for name, given in (("batched_params", batched_params), ("batched_data", batched_data)):
        if given:
            options[name] = arguments.names(name, given)
    return options
