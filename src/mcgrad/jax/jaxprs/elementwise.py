"""JAX's primitives that work element by element, and some of its functions, as functions of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.functions import special
from mcgrad.ir.build import apply
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer, unwrap

Rule = Callable[..., Any]


def stop_gradient(x: Any) -> Any:
    """Return x without a derivative."""
    return Tracer(apply("stop", unwrap(x))) if isinstance(x, Tracer) and x.dtype.kind == "f" else x


def same(x: Any) -> Any:
    """Return x as it is."""
    return x


def _of(function: Rule) -> Rule:
    """Leave out the parameters of a primitive, which are about dtypes and accuracy."""
    return lambda *args, **_: function(*args)


def _div(x: Any, y: Any, dtype: Any, **_: Any) -> Any:
    """The quotient, towards zero for integers, which a Tracer holds as floats."""
    if dtype.kind == "f":
        return x / y
    if isinstance(x, Tracer) or isinstance(y, Tracer):
        return np.trunc(x / y)
    return np.asarray(np.trunc(x / y), dtype) if dtype.kind == "i" and (y != 0).all() else x // y


def _rem(x: Any, y: Any, **_: Any) -> Any:
    """The remainder of x / y, with the sign of x."""
    if isinstance(x, Tracer) or isinstance(y, Tracer):
        return x - y * np.trunc(x / y)
    return np.fmod(x, y)


def to_even(x: Any) -> Any:
    """Round to the nearest whole number, and halves to even ones."""
    up = np.floor(x + 0.5)
    odd = up - 2.0 * np.floor(up / 2.0)
    return np.where(up - x == 0.5, up - odd, up)


def _round(x: Any, rounding_method: Any, **_: Any) -> Any:
    if not isinstance(x, Tracer) and x.dtype.kind != "f":
        return x
    if int(rounding_method) == 0:
        return np.trunc(x + np.where(x < 0, -0.5, 0.5))
    return to_even(x)


def _select(which: Any, *cases: Any) -> Any:
    if len(cases) == 1:
        return cases[0]
    if which.dtype.kind == "b":
        return np.where(which, cases[1], cases[0])
    result = cases[-1]
    for number, case in reversed(list(enumerate(cases[:-1]))):
        result = np.where(which <= number, case, result)
    return result


def _convert(x: Any, new_dtype: Any, **_: Any) -> Any:
    """Convert; a Tracer holds integers as floats, and the width of floats is that of the estimate."""
    if not isinstance(x, Tracer):
        return np.asarray(x, new_dtype)
    kind = np.dtype(new_dtype).kind
    if kind == "c":
        raise refusal("a complex number", "compute with the real and the imaginary part as two real arrays")
    if kind == "b":
        return x.astype(bool)
    numbers = x.astype(float)
    return np.trunc(numbers) if kind in "iu" and x.dtype.kind == "f" else numbers


def _integer_pow(x: Any, y: int, **_: Any) -> Any:
    return x**y if isinstance(x, Tracer) or y >= 0 else 1.0 / x**-y


def _clamp(low: Any, x: Any, high: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


def _max(x: Any, y: Any) -> Any:
    """The larger of two; minus infinity, with which JAX begins maxima, leaves the other as it is."""
    if not isinstance(x, Tracer) and x.ndim == 0 and x == -np.inf:
        return y
    return np.maximum(x, y)


def erf_inv(x: Any) -> Any:
    """Return the inverse of the error function."""
    return special.ndtri((x + 1.0) / 2.0) / np.sqrt(2.0)


def _not(x: Any) -> Any:
    if isinstance(x, Tracer) and x.dtype.kind != "b":
        raise refusal("the bits of a traced integer", "they are defined for booleans only")
    return ~x


def _polygamma(order: Any, x: Any) -> Any:
    if isinstance(order, Tracer) or not (order == 1.0).all():
        raise refusal("polygamma", "accepted are the orders 0 and 1, digamma and trigamma")
    if not isinstance(x, Tracer):
        import scipy.special

        return scipy.special.polygamma(1, x)
    return Tracer(apply("trigamma", unwrap(x)))


_OF_ARGUMENTS: dict[str, Rule] = {
    # arithmetic
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "abs": np.absolute,
    "sign": np.sign,
    "max": _max,
    "min": np.minimum,
    "clamp": _clamp,
    "floor": np.floor,
    "ceil": np.ceil,
    "nextafter": np.nextafter,
    # powers, exponentials, logarithms
    "pow": np.power,
    "square": np.square,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "cbrt": np.cbrt,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    # angles and hyperbolic functions
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "atan2": np.arctan2,
    # special functions
    "logistic": special.expit,
    "erf": special.erf,
    "erfc": special.erfc,
    "erf_inv": erf_inv,
    "lgamma": special.gammaln,
    "digamma": special.digamma,
    "polygamma": _polygamma,
    # comparisons and logic
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": _not,
    "is_finite": np.isfinite,
    "select_n": _select,
    # what changes nothing, or the dtype alone
    "stop_gradient": stop_gradient,
    "reduce_precision": same,
    "copy": same,
    "copy_p": same,
    "real": np.real,
    "optimization_barrier": lambda *args: args,
}

ELEMENTWISE: dict[str, Rule] = {
    **{name: _of(function) for name, function in _OF_ARGUMENTS.items()},
    "div": _div,
    "rem": _rem,
    "round": _round,
    "integer_pow": _integer_pow,
    "convert_element_type": _convert,
}
