"""The function `expectation`: an estimate of E f(z) as a tensor, with its gradient for autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.plan import GROUP, MethodNames
from mcgrad.inputs.integrand import Integrand
from mcgrad.inputs.objectives import Objective
from mcgrad.reals import count
from mcgrad.torch.autograd import Call, Expectation, TransformedExpectation, outputs_of
from mcgrad.torch.leaves import leaves
from mcgrad.torch.operator import expectation_op, split
from mcgrad.torch.problems import number_of, problem_of
from mcgrad.torch.seeds import seed_tensor

WIDTHS = {
    "float32": torch.float32,
    "float64": torch.float64,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


class WithStderr(NamedTuple):
    """An expectation with standard errors, all as tensors.

    Parameters
    ----------
    value : Tensor
        The estimate, which autograd differentiates.
    stderr : Tensor
        Its standard error.
    grad_stderr : dict
        Standard errors of the gradient in those parameters that require one, nested as they were given; without a
        gradient (under ``torch.no_grad``) empty. That of what ``backward`` accumulates is this times the cotangent.
    """

    value: torch.Tensor
    stderr: torch.Tensor
    grad_stderr: dict[str, Any]


def expectation(
    f: Callable[..., Any] | Integrand | Objective,
    q: Callable[..., Distribution] | Distribution | None = None,
    n: int | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    seed: int | torch.Tensor | None = None,
    generator: torch.Generator | None = None,
    return_stderr: bool = False,
    method: MethodNames = "pathwise",
    baseline: str | None = None,
    k: int = GROUP,
    dtype: torch.dtype | str | None = None,
    backend: str = "auto",
    threads: int | None = None,
    nonfinite: str = "propagate",
    **q_params: Any,
) -> torch.Tensor | WithStderr:
    """Estimate E f(z), z ~ q, at parameters that are tensors; ``backward()`` gives mcgrad's gradient.

    Parameters
    ----------
    f : callable, Integrand or Objective
        As for `mcgrad.estimate`: ``f(z, **params, **data)``, plain NumPy on one draw, returning one number.
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
        a constant of the graph; a tensor is not.
    generator : torch.Generator, optional
        Default: PyTorch's of the CPU, so that ``torch.manual_seed`` reproduces a run.
    return_stderr : bool
        Whether to return a `WithStderr` in place of the value.
    method, baseline, k, backend, threads, nonfinite
        As for `mcgrad.Estimator`.
    dtype : torch.dtype or str, optional
        Of the draws, of f and of the value: float32 or float64; default: the widest of the tensors'.
    **q_params
        Parameters of q: tensors, floats or arrays, in nested dicts where q's are; and what else q takes, as it is.

    Returns
    -------
    Tensor, or WithStderr

    Raises
    ------
    ParameterError, TraceError, BackendError, NonFiniteError

    Notes
    -----
    The gradient, in those parameters that require one, is computed with the value and kept; `backward` multiplies it.
    It has no derivative of its own: a second one is refused. Where no parameter requires a gradient, and under
    ``torch.no_grad``, the value alone is computed.

    f is traced and compiled when a call is the first with this f, this q, these options, and tensors of these shapes
    and dtypes; as in `torch.compile`, what f reads besides its arguments is a constant from then on. Functions that
    were made by the same line, and close over the same objects, are the same f.

    Tensors on the CPU are read where they are, without a copy. Those on a CUDA device are passed by DLPack in
    PyTorch's current stream; moments of the result pass through host memory, for which the call waits.

    Under `torch.vmap` with ``randomness="same"``, or with a seed that is given, all rows have the same draws; with
    "different" each has its own.

    Examples
    --------
    >>> loss = mcgrad.torch.expectation(f, mg.Normal, 4096, loc=loc, scale=log_scale.exp(), data={"x": x})
    >>> loss.backward()
    """
    wide = None if dtype is None else WIDTHS[checked_dtype(dtype)]
    tensors, known, static, result = leaves(
        q_params, {} if params is None else params, {} if data is None else data, wide
    )
    if type(n) is not int:
        n = count("n", n, 2)
    options = (
        ("method", method if isinstance(method, str) else tuple(method.items())),
        ("baseline", baseline),
        ("k", k),
        ("dtype", "float64" if result == torch.float64 else "float32"),
        ("backend", backend),
        ("threads", threads),
        ("nonfinite", nonfinite),
    )
    differentiable = [leaf.differentiable for leaf in known]
    at = seed_tensor(seed, generator)
    compiling = torch.compiler.is_compiling()
    number = number_of(f, q, known, static, options) if compiling else problem_of(f, q, known, static, options).number
    call = Call(number, n, differentiable, result, return_stderr)
    if compiling:
        value, _, stderr = expectation_op(tensors, at, *call)
    elif torch._C._are_functorch_transforms_active():
        value, _, stderr = TransformedExpectation.apply(call, at, *tensors)
    elif True in differentiable:
        value, stderr = Expectation.apply(call, at, *tensors)
    else:
        value, _, stderr = outputs_of(call, at, tensors)
    if not return_stderr:
        return value
    own, *errors = split(stderr.detach(), [torch.Size(), *[x.shape for x in call.chosen(tensors)]])
    paths = [leaf.path for leaf in known if leaf.differentiable]
    return WithStderr(value, own, tree.unflatten(dict(zip(paths, errors, strict=True))) if paths else {})


def checked_dtype(dtype: Any) -> Any:
    """Return a dtype that is accepted."""
    if dtype in WIDTHS:
        return dtype
    raise ParameterError("dtype", shown(dtype), "torch.float32 or torch.float64")
