"""PyTorch's operators that work element by element, as functions of NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.functions import special
from mcgrad.ir.build import apply
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer, unwrap

Rule = Callable[..., Any]


def stopped(x: Any) -> Any:
    """Return x without a derivative."""
    return Tracer(apply("stop", unwrap(x))) if isinstance(x, Tracer) and x.dtype.kind == "f" else x


def same(x: Any, *_: Any, **__: Any) -> Any:
    """Return x as it is."""
    return x


def _add(x: Any, y: Any, alpha: Any = 1) -> Any:
    return x + y if alpha == 1 else x + alpha * y


def _sub(x: Any, y: Any, alpha: Any = 1) -> Any:
    return x - y if alpha == 1 else x - alpha * y


def _div(x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    quotient = np.divide(x, y)
    return quotient if rounding_mode is None else getattr(np, rounding_mode)(quotient)


def _round(x: Any, decimals: int = 0) -> Any:
    """Round halves to even numbers."""
    scaled = x * 10.0**decimals if decimals else x
    up = np.floor(scaled + 0.5)
    even = np.where(up - scaled == 0.5, up - (up - 2.0 * np.floor(up / 2.0)), up)
    return even / 10.0**decimals if decimals else even


def _clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    x = x if min is None else np.maximum(x, min)
    return x if max is None else np.minimum(x, max)


def _to(x: Any, dtype: Any = None, **_: Any) -> Any:
    """Convert; a Tracer holds integers as floats, and the width of floats is that of the estimate."""
    if dtype is None:
        return x
    if dtype.is_complex:
        raise refusal("a complex number", "compute with the real and the imaginary part as two real arrays")
    if str(dtype) == "torch.bool":
        return x.astype(bool)
    numbers = x.astype(float)
    return numbers if dtype.is_floating_point or x.dtype.kind == "b" else np.trunc(numbers)


def _logit(x: Any, eps: Any = None) -> Any:
    inside = x if eps is None else _clamp(x, eps, 1.0 - eps)
    return np.log(inside) - np.log1p(-inside)


def _xlog(function: Rule, unit: float) -> Rule:
    """X * function(y), and 0 where x is 0; `unit` is where the function is 0."""
    return lambda x, y: x * function(np.where(np.equal(x, 0.0), unit, y))


def _softplus(x: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    """log(1 + exp(beta x)) / beta; where PyTorch takes x itself, above the threshold, the two are equal to rounding."""
    return np.logaddexp(x, 0.0) if beta == 1 else np.logaddexp(x * beta, 0.0) / beta


def _gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
    return x * special.ndtr(x)


def _elu(x: Any, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) * input_scale))


def _hardsigmoid(x: Any) -> Any:
    return np.clip(x / 6.0 + 0.5, 0.0, 1.0)


def _log_sigmoid(x: Any) -> tuple[Any, None]:
    """The logarithm of the sigmoid; the buffer that PyTorch keeps for the derivative is not made."""
    return -np.logaddexp(-x, 0.0), None


def _polygamma(order: int, x: Any) -> Any:
    if order == 0:
        return special.digamma(x)
    if order != 1 or not isinstance(x, Tracer):
        raise refusal(f"torch.polygamma of order {order}", "accepted are the orders 0 and 1")
    return Tracer(apply("trigamma", unwrap(x)))


_SAME_NAME = ("exp exp2 expm1 log log2 log10 log1p sqrt square reciprocal sin cos tan sinh cosh tanh sign floor ceil "
              "trunc isnan isinf isfinite logical_not logical_and logical_or logical_xor maximum minimum fmax fmin "
              "hypot logaddexp logaddexp2 copysign nextafter sinc remainder deg2rad rad2deg")  # fmt: skip

ELEMENTWISE: dict[str, Rule] = {
    **{name: getattr(np, name) for name in _SAME_NAME.split()},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    # arithmetic
    "add": _add,
    "sub": _sub,
    "rsub": lambda x, y, alpha=1: _sub(y, x, alpha),
    "mul": np.multiply,
    "div": _div,
    "floor_divide": np.floor_divide,
    "fmod": lambda x, y: x - y * np.trunc(x / y),
    "neg": np.negative,
    "abs": np.absolute,
    "sgn": np.sign,
    "pow": np.power,
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "round": _round,
    "frac": lambda x: x - np.trunc(x),
    "addcmul": lambda x, a, b, value=1: x + value * a * b,
    "addcdiv": lambda x, a, b, value=1: x + value * a / b,
    "lerp": lambda x, end, weight: x + weight * (end - x),
    "atan2": np.arctan2,
    "heaviside": np.heaviside,
    "signbit": lambda x: np.copysign(1.0, x) < 0.0,
    "angle": lambda x: np.where(x < 0.0, math.pi, 0.0),
    # choices, comparisons, logic
    "where": np.where,
    "masked_fill": lambda x, mask, value: np.where(mask, value, x),
    "clamp": _clamp,
    "clamp_min": np.maximum,
    "clamp_max": np.minimum,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "bitwise_not": np.invert,
    # special functions
    "erf": special.erf,
    "erfc": special.erfc,
    "erfinv": lambda x: special.ndtri((x + 1.0) / 2.0) / math.sqrt(2.0),
    "lgamma": special.gammaln,
    "digamma": special.digamma,
    "polygamma": _polygamma,
    "sigmoid": special.expit,
    "logit": _logit,
    "xlogy": _xlog(np.log, 1.0),
    "special_xlog1py": _xlog(np.log1p, 0.0),
    "special_entr": lambda x: -_xlog(np.log, 1.0)(x, x),
    "special_erfcx": special.erfcx,
    "special_ndtri": special.ndtri,
    "special_log_ndtr": special.log_ndtr,
    "special_ndtr": special.ndtr,
    # activations
    "relu": lambda x: np.maximum(x, 0.0),
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": lambda x: x * special.expit(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0.0)),
    "elu": _elu,
    "leaky_relu": lambda x, slope=0.01: np.where(x > 0, x, slope * x),
    "hardtanh": lambda x, low=-1, high=1: np.clip(x, low, high),
    "hardsigmoid": _hardsigmoid,
    "hardswish": lambda x: x * _hardsigmoid(x),
    "threshold": lambda x, at, value: np.where(x > at, x, value),
    "log_sigmoid_forward": _log_sigmoid,
    # what changes nothing, or the dtype alone
    "detach": stopped,
    "_to_copy": _to,
    **dict.fromkeys(("alias", "clone", "contiguous", "lift_fresh", "lift", "positive", "_conj", "real"), same),
}
