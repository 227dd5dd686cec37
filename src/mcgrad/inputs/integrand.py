"""Integrands as pairs of Numba functions, value and gradient, for code that only scalar loops can express.

A call becomes one op of the Program, which kernels execute for each draw and the reference calls from Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.errors import ParameterError, TraceError, shown
from mcgrad.ir import build
from mcgrad.ir.program import Shape, Var
from mcgrad.trace.operands import operand
from mcgrad.trace.trace import trace_integrand, trace_number
from mcgrad.trace.tracer import Tracer, holds_tracer, unwrap


class Integrand:
    """A pair of Numba functions: the integrand and its gradient in the draw.

    Parameters
    ----------
    value : numba function
        ``value(z, *params, *data) -> float``. `z` is a one-dimensional contiguous array of the draw's elements in
        C order; parameters, then data, follow in the order in which ``mg.estimate`` was given them, scalars as numbers
        and nested dicts of parameters leaf by leaf.
    value_and_grad : numba function
        ``value_and_grad(z, grad, *params, *data) -> float``: writes df/dz into `grad`, an array like z, and returns f.

    Notes
    -----
    The functions run inside the fused kernel, once for each draw, on arrays of the estimator's dtype; they must not
    keep or change what they are given. The gradient in f's own parameters is not available: name q's in ``wrt``.

    In a function that is traced, and in the step of an `mg.scan`, ``pair(x, *others)`` is one such call, with x in
    the place of z: derivatives in x are those of `value_and_grad`, and there are none in the others.

    Examples
    --------
    >>> @numba.njit
    ... def value(z): return z[0] ** 2
    >>> @numba.njit
    ... def value_and_grad(z, grad):
    ...     grad[0] = 2 * z[0]
    ...     return z[0] ** 2
    >>> mg.estimate(mg.Integrand(value=value, value_and_grad=value_and_grad), mg.Normal(0.3, 1.2), n=1000)
    """

    def __init__(self, *, value: Callable[..., float], value_and_grad: Callable[..., float]) -> None:
        for name, function in {"value": value, "value_and_grad": value_and_grad}.items():
            if not callable(function) or not hasattr(function, "py_func"):
                raise ParameterError(name, shown(function), "a function compiled with numba.njit")
        self.value, self.value_and_grad = value, value_and_grad

    def __call__(self, z: Any, *args: Any) -> Any:
        """Return the value at an array z, for parameters and data in order: within a function that is traced, too.

        There it is one call in the kernel, and its derivative in z is `value_and_grad`.
        """
        if not holds_tracer([z, *args]):
            z, *rest = (np.asarray(x, order="C") for x in (z, *args))
            return self.value(np.asarray(z, np.float64).ravel(), *(x[()] if x.ndim == 0 else x for x in rest))
        first, *others = (operand(unwrap(x)) for x in (z, *args))
        return Tracer(build.native("native_value", self, (build.apply("float", first), *others), ()))

    def trace(self, z: Var, params: Mapping[str, Var], data: Mapping[str, Any]) -> Var:
        """Return the call as a Var."""
        if not isinstance(z, Var):
            raise TraceError("an Integrand takes draws that are one array; this distribution's are a dict of several")
        args = [build.as_var(x) for x in [*params.values(), *data.values()]]
        return build.native("native_value", self, (z, *args), ())

    def reference(self, op: str, shape: Shape, args: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Call the functions from Python, for one draw."""
        z, *rest = (np.asarray(x, order="C") for x in args)
        rest = [x[()] if x.ndim == 0 else x for x in rest]
        if op == "native_value":
            return np.asarray(self.value(z.ravel(), *rest), z.dtype)
        grad = np.empty_like(z.ravel())
        self.value_and_grad(z.ravel(), grad, *rest)
        return grad.reshape(shape)


def trace_user(f: Callable[..., Any] | Integrand, z: Any, params: Mapping[str, Var], data: Mapping[str, Any]) -> Any:
    """Return a user's integrand at one draw: a call of an Integrand, or what a function computes.

    That is a Var, or a nested dict of Vars.

    Parameters
    ----------
    f : callable or Integrand
    z : Var or nested dict of Var
        The draw.
    params : dict of str to Var
        By dotted path.
    data : dict of str to Var or array
        By name.
    """
    if isinstance(f, Integrand):
        return f.trace(z, params, data)
    return trace_integrand(f, z, tree.unflatten(params), data)


def trace_log_joint(
    f: Callable[..., Any] | Integrand, z: Any, params: Mapping[str, Var], data: Mapping[str, Any]
) -> Var:
    """Return a user's log joint density at one draw, which is one number; arguments as of `trace_user`."""
    if isinstance(f, Integrand):
        return f.trace(z, params, data)
    return trace_number(f, z, tree.unflatten(params), data)
