"""The functions `expectation` and `estimate`: E f(z) as a tensor, with its gradient for autograd, and its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.plan import GROUP, MethodNames
from mcgrad.inputs.arguments import draws
from mcgrad.inputs.integrand import Integrand
from mcgrad.inputs.objectives import Objective
from mcgrad.results.flat import flat_shape
from mcgrad.torch import earlier
from mcgrad.torch.autograd import TransformedExpectation, outputs_of, recorded
from mcgrad.torch.leaves import Leaf, Leaves, leaves
from mcgrad.torch.operator import Call, arrays_of, expectation_of
from mcgrad.torch.problems import number_of, problem_of
from mcgrad.torch.rows import Axes, Rows, split
from mcgrad.torch.seeds import seed_number, seed_tensor

WIDTHS = {
    "float32": torch.float32,
    "float64": torch.float64,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}
REDUCE = (None, "sum", "mean")

Options = tuple[tuple[str, Any], ...]  # of Estimators


class Estimate(NamedTuple):
    """An estimate of E f(z) and of its gradient, with standard errors, as tensors.

    Parameters
    ----------
    value, stderr : Tensor, or nested dict of tensors
        Estimate of E f(z), which autograd differentiates, and its standard error.
    grad, grad_stderr : dict
        Estimate of the gradient in each parameter that is a tensor, whether it requires a gradient or not, nested as
        they were given, and its standard errors. Where f returns an array, its axes come before the parameter's; where
        it returns a dict, there is one inside each parameter. Of a batch whose value is by row, gradients in
        parameters that the rows share are by row, too. Under ``torch.no_grad`` they are there, too.
    nonfinite : int64 Tensor
        Draws whose value or gradient was not finite, of all rows together.
    """

    value: Any
    stderr: Any
    grad: dict[str, Any]
    grad_stderr: dict[str, Any]
    nonfinite: torch.Tensor


def expectation(
    f: Callable[..., Any] | Integrand | Objective,
    q: Callable[..., Distribution] | Distribution | None = None,
    n: int | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    seed: int | torch.Tensor | None = None,
    generator: torch.Generator | None = None,
    method: MethodNames = "pathwise",
    baseline: str | None = None,
    k: int = GROUP,
    dtype: torch.dtype | str | None = None,
    backend: str = "auto",
    threads: int | None = None,
    nonfinite: str = "propagate",
    batched_params: str | Iterable[str] = (),
    batched_data: str | Iterable[str] = (),
    reduce: str | None = None,
    antithetic: bool = False,
    **q_params: Any,
) -> Any:
    """Estimate E f(z), z ~ q, at parameters that are tensors; ``backward()`` gives mcgrad's gradient.

    Parameters
    ----------
    f : callable, Integrand or Objective
        As for `mcgrad.estimate`: ``f(z, **params, **data)``, plain NumPy on one draw, returning a number, an array, or
        a nested dict of arrays.
    q : callable or Distribution
        A family, such as ``mg.Normal``, whose parameters are given by name; any function of such names that makes a
        distribution; or a distribution, of which the parameters that are given replace its own. None for an
        objective, which has its own.
    n : int
        Number of draws, at least 2.
    params : nested dict of str to Tensor, float or array, optional
        Parameters that only f has.
    data : dict of str to Tensor, float, int, bool or array, optional
        Float tensors, which have new values in each call; or integers and booleans, which may index: new ones make a
        new Estimator.
    seed : int or int64 Tensor, optional
        0 <= seed < 2**64. Default: drawn from `generator`, a new one in each call. Inside ``torch.compile`` an int is
        a constant of the graph; a tensor is not. One on the CUDA device of the other tensors is read there.
    generator : torch.Generator, optional
        Default: PyTorch's of the CPU, so that ``torch.manual_seed`` reproduces a run.
    method, baseline, k, backend, threads, nonfinite
        As for `mcgrad.Estimator`.
    dtype : torch.dtype or str, optional
        Of the draws, of f and of the value: float32 or float64; default: the widest of the tensors'.
    batched_params, batched_data
        As for `mcgrad.Estimator`. With these, or ``batch_ndim=`` among the parameters of a family, there are many
        problems: the rows of a batch.
    reduce : {None, "sum", "mean"}
        Of a batch: None for values by row; "sum" or "mean" for one value, for which gradients in parameters that the
        rows share need no memory by row.
    antithetic : bool
        As for `mcgrad.Estimator`.
    **q_params
        Parameters of q: tensors, floats or arrays, in nested dicts where q's are; and what else q takes, as it is.

    Returns
    -------
    Tensor, or nested dict of tensors
        As f returns them, behind the batch axes.

    Raises
    ------
    ParameterError, TraceError, BackendError, NonFiniteError

    Notes
    -----
    The gradient, in those parameters that require one, is computed with the value and kept; `backward` multiplies it.
    Where f returns more than 8 numbers, and is differentiated in more than 8, `backward` estimates again for the
    cotangents it is given, from the same draws. The gradient has no derivative of its own: a second one is refused.
    Where no parameter requires a gradient, and under ``torch.no_grad``, the value alone is computed.

    f is traced and compiled when a call is the first with this f, this q, these options, and tensors of these shapes
    and dtypes; as in `torch.compile`, what f reads besides its arguments is a constant from then on. Functions that
    were made by the same line, and close over the same objects, are the same f.

    Tensors on the CPU are read where they are, without a copy. Those on a CUDA device stay there: the call puts its
    work into PyTorch's current stream and waits for nothing, so that a CUDA graph may capture it. docs/frameworks.md
    says what goes by way of the host.

    Under `torch.vmap` each row has what it would have in a loop, but for rounding: with ``randomness="same"``, or a
    seed that is given, all have the same draws; with "different", or a seed for each, they have their own.

    Examples
    --------
    >>> loss = mcgrad.torch.expectation(f, mg.Normal, 4096, loc=loc, scale=log_scale.exp(), data={"x": x})
    >>> loss.backward()
    """
    options = _options(method, baseline, k, backend, threads, nonfinite, batched_params, batched_data, antithetic)
    outputs, _, call = _outputs(f, q, n, params, data, seed, generator, dtype, options, reduce, q_params, False)
    return call.returned(outputs[0], len(call.rows.value) - len(call.rows.shape))


def estimate(
    f: Callable[..., Any] | Integrand | Objective,
    q: Callable[..., Distribution] | Distribution | None = None,
    n: int | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    seed: int | torch.Tensor | None = None,
    generator: torch.Generator | None = None,
    method: MethodNames = "pathwise",
    baseline: str | None = None,
    k: int = GROUP,
    dtype: torch.dtype | str | None = None,
    backend: str = "auto",
    threads: int | None = None,
    nonfinite: str = "propagate",
    batched_params: str | Iterable[str] = (),
    batched_data: str | Iterable[str] = (),
    reduce: str | None = None,
    antithetic: bool = False,
    **q_params: Any,
) -> Estimate:
    """Estimate E f(z) and its gradient, with standard errors, at parameters that are tensors.

    Parameters
    ----------
    f, q, n, params, data, seed, generator, method, baseline, k, dtype, backend, threads, nonfinite
        As for `expectation`.
    batched_params, batched_data, reduce, antithetic, **q_params
        As for `expectation`.

    Returns
    -------
    Estimate
        Its value is that of `expectation` at the same seed.
    """
    options = _options(method, baseline, k, backend, threads, nonfinite, batched_params, batched_data, antithetic)
    (value, grad, stderr, nonfinite_), known, call = _outputs(
        f, q, n, params, data, seed, generator, dtype, options, reduce, q_params, True
    )
    rows, chosen = call.rows, [leaf for leaf in known if leaf.differentiable]
    shapes = [rows.gradient(leaf.shape, leaf.by_row) for leaf in chosen]

    def nested(parts: list[torch.Tensor]) -> dict[str, Any]:
        named = {}
        for leaf, x in zip(chosen, parts, strict=True):
            front = len(rows.batch) if leaf.by_row or rows.weight is None else 0
            named[leaf.path] = call.returned(x, front)
        return tree.unflatten(named) if named else {}

    own, *errors = split(stderr.detach(), [rows.value, *shapes])
    grads = nested(split(grad.detach(), shapes) if shapes else [])
    front = len(rows.value) - len(rows.shape)
    return Estimate(call.returned(value, front), call.returned(own, front), grads, nested(errors), nonfinite_)


def _options(
    method: MethodNames,
    baseline: str | None,
    k: int,
    backend: str,
    threads: int | None,
    nonfinite: str,
    batched_params: str | Iterable[str],
    batched_data: str | Iterable[str],
    antithetic: bool,
) -> Options:
    """Return options of an Estimator as values that can be hashed, by which it is found again."""
    return (
        ("method", method if isinstance(method, str) else tuple(method.items())),
        ("baseline", baseline),
        ("k", k),
        ("backend", backend),
        ("threads", threads),
        ("nonfinite", nonfinite),
        ("antithetic", antithetic),
        ("batched_params", batched_params if isinstance(batched_params, str) else tuple(batched_params)),
        ("batched_data", batched_data if isinstance(batched_data, str) else tuple(batched_data)),
    )


def _outputs(
    f: Any,
    q: Any,
    n: Any,
    params: Mapping[str, Any] | None,
    data: Mapping[str, Any] | None,
    seed: Any,
    generator: torch.Generator | None,
    dtype: Any,
    options: Options,
    reduce: str | None,
    q_params: Mapping[str, Any],
    errors: bool,
) -> tuple[Sequence[torch.Tensor], tuple[Leaf, ...], Call]:
    """Return the value, or with errors all that the operator returns; what is known of tensors; and the call."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        call, found, _ = _prepared(f, q, n, params, data, dtype, options, reduce, q_params, errors)
        apply = expectation_of if torch.compiler.is_compiling() else TransformedExpectation.apply
        return apply(call, seed_tensor(seed, generator), *found.tensors), found.known, call
    kinds, values = earlier.kinds_of(f, q, (n, dtype, options, reduce, errors), (q_params, params, data))
    like = earlier.find(kinds)
    if like is None:
        call, found, problem = _prepared(f, q, n, params, data, dtype, options, reduce, q_params, errors)
        tensors, known = found.tensors, found.known
        earlier.put(kinds, values, found, call, problem)
    else:
        call, known, tensors = like.call, like.known, like.tensors(values)
    number = seed_number(seed, generator, tensors)
    if True in call.differentiable:
        return recorded(call, number, tensors), known, call
    return outputs_of(call, number, tensors), known, call


def _prepared(
    f: Any,
    q: Any,
    n: Any,
    params: Mapping[str, Any] | None,
    data: Mapping[str, Any] | None,
    dtype: Any,
    options: Options,
    reduce: str | None,
    q_params: Mapping[str, Any],
    errors: bool,
) -> tuple[Call, Leaves, Any]:
    """Return a call, its tensors, and its problem, which in a compiled graph has its number only."""
    if dtype is not None and dtype not in WIDTHS:
        raise ParameterError("dtype", shown(dtype), "torch.float32 or torch.float64")
    if reduce not in REDUCE:
        raise ParameterError("reduce", shown(reduce), "None, 'sum' or 'mean'")
    whole = f.q if q is None and isinstance(f, Objective) else q
    *_, (_, batched_params), (_, batched_data) = options
    found = leaves(
        q_params,
        {} if params is None else params,
        {} if data is None else data,
        None if dtype is None else WIDTHS[dtype],
        Axes.of(whole, batched_params, batched_data),
        errors,
    )
    by_row = [leaf.by_row for leaf in found.known if leaf.differentiable]
    whole_reduce = reduce
    if found.axes.ndim and reduce is None and False in by_row:
        reduce = "none"  # the cotangent of each row is known in the backward pass only
    width = "float64" if found.dtype == torch.float64 else "float32"
    options = (*options, ("dtype", width), ("reduce", reduce), ("errors", errors))
    options = (*options, ("differentiates", torch.is_grad_enabled()))
    if torch.compiler.is_compiling():
        (number, value), problem = number_of(f, q, found.known, found.static, options), None
    else:
        problem = problem_of(f, q, found.known, found.static, options)
        transformed = torch._C._are_functorch_transforms_active()
        shapes = problem.value_shapes(None if transformed else arrays_of(problem, found.tensors)[0])
        number, value = problem.number, tuple(shapes.items())
    rows = Rows.of(found.axes, found.known, whole_reduce, flat_shape(dict(value)))
    n = n if type(n) is int else draws(n, q)
    differentiable = [leaf.differentiable for leaf in found.known]
    kept = errors or torch._C._are_functorch_transforms_active() or rows.keeps(found.known)
    alike = all(leaf.dtype == found.dtype for leaf in found.known if leaf.differentiable)
    return Call(number, n, differentiable, found.dtype, errors, kept, rows, value, alike), found, problem
