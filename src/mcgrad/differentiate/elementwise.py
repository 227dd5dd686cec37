"""Derivatives of the elementwise ops, one line each.

The derivative of an elementwise op in one argument is a diagonal linear map t -> p * t, so one line serves both modes:
forward applies it to a tangent, reverse to a cotangent. `y` is the op's own result. None stands for a derivative
that is zero almost everywhere. Where squares of arguments would over- or underflow long before the derivative does,
`hypot` takes their place.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from mcgrad.ir.build import apply
from mcgrad.ir.program import Var

Rule = Callable[..., Var] | None

add, sub, mul, div, neg = (partial(apply, op) for op in ("add", "subtract", "multiply", "divide", "negative"))
exp, log, sqrt, sin, cos, sinh, cosh, tanh, hypot = (
    partial(apply, op) for op in ["exp", "log", "sqrt", "sin", "cos", "sinh", "cosh", "tanh", "hypot"]
)
power, where, less, equal, sign = (partial(apply, op) for op in ["power", "where", "less", "equal", "sign"])
expit, erfcx, digamma, trigamma = (partial(apply, op) for op in ["expit", "erfcx", "digamma", "trigamma"])

_2_SQRT_PI = 2 / np.sqrt(np.pi)
_1_SQRT_2PI = 1 / np.sqrt(2 * np.pi)
_SQRT_HALF = np.sqrt(0.5)
_LN2 = np.log(2)
_LN10 = np.log(10)


def _gauss(x: Var) -> Var:
    return exp(neg(mul(x, x)))


def _erfcx_slope(x: Var, y: Var) -> Var:
    """2 x y - 2/sqrt(pi), whose terms cancel for large x: there -2 c y, as y = 1 / (sqrt(pi) (x + c)).

    c is the continued fraction (1/2) / (x + 1 / (x + (3/2) / (x + ...))), ten levels: right to 4e-12 from 5 on.
    """
    large = less(5.0, x)
    safe = where(large, x, 5.0)
    c = div(10.0, add(safe, sqrt(add(mul(safe, safe), 20.0))))
    for k in range(9, 0, -1):
        c = div(0.5 * k, add(safe, c))
    return where(large, neg(mul(mul(c, y), 2.0)), sub(mul(mul(x, y), 2.0), _2_SQRT_PI))


DERIVATIVES: dict[str, tuple[Rule, ...]] = {
    "add": (lambda t, y, a, b: t, lambda t, y, a, b: t),
    "subtract": (lambda t, y, a, b: t, lambda t, y, a, b: neg(t)),
    "negative": (lambda t, y, x: neg(t),),
    "multiply": (lambda t, y, a, b: mul(t, b), lambda t, y, a, b: mul(t, a)),
    "divide": (lambda t, y, a, b: div(t, b), lambda t, y, a, b: neg(div(mul(t, y), b))),
    "reciprocal": (lambda t, y, x: neg(mul(mul(t, y), y)),),
    "absolute": (lambda t, y, x: mul(t, sign(x)),),
    "copy": (lambda t, y, x: t,),
    "stop": (None,),
    "implicit": (None, lambda t, y, x, cdf, density: neg(div(t, density)), None),
    "vibrato_step": (None, None),
    "vibrato_mean": (lambda t, y, x, steps: t, None),
    "nextafter": (lambda t, y, x, towards: t, None),
    "sign": (None,),
    "floor": (None,),
    "ceil": (None,),
    "float": (None,),
    "minimum": (lambda t, y, a, b: where(less(b, a), 0.0, t), lambda t, y, a, b: where(less(b, a), t, 0.0)),
    "maximum": (lambda t, y, a, b: where(less(a, b), 0.0, t), lambda t, y, a, b: where(less(a, b), t, 0.0)),
    "where": (None, lambda t, y, c, a, b: where(c, t, 0.0), lambda t, y, c, a, b: where(c, 0.0, t)),
    "sqrt": (lambda t, y, x: div(mul(t, 0.5), y),),
    "cbrt": (lambda t, y, x: div(mul(t, y), mul(x, 3.0)),),
    "exp": (lambda t, y, x: mul(t, y),),
    "exp2": (lambda t, y, x: mul(t, mul(y, _LN2)),),
    "expm1": (lambda t, y, x: mul(t, exp(x)),),
    "log": (lambda t, y, x: div(t, x),),
    "log2": (lambda t, y, x: div(t, mul(x, _LN2)),),
    "log10": (lambda t, y, x: div(t, mul(x, _LN10)),),
    "log1p": (lambda t, y, x: div(t, add(1.0, x)),),
    "sin": (lambda t, y, x: mul(t, cos(x)),),
    "cos": (lambda t, y, x: neg(mul(t, sin(x))),),
    "tan": (lambda t, y, x: mul(t, add(1.0, mul(y, y))),),
    "arcsin": (lambda t, y, x: div(t, sqrt(mul(sub(1.0, x), add(1.0, x)))),),
    "arccos": (lambda t, y, x: neg(div(t, sqrt(mul(sub(1.0, x), add(1.0, x))))),),
    "arctan": (lambda t, y, x: div(t, add(1.0, mul(x, x))),),
    "arctan2": (
        lambda t, y, a, b: mul(div(t, hypot(a, b)), div(b, hypot(a, b))),
        lambda t, y, a, b: neg(mul(div(t, hypot(a, b)), div(a, hypot(a, b)))),
    ),
    "sinh": (lambda t, y, x: mul(t, cosh(x)),),
    "cosh": (lambda t, y, x: mul(t, sinh(x)),),
    "tanh": (lambda t, y, x: mul(t, sub(1.0, mul(y, y))),),
    "arcsinh": (lambda t, y, x: div(t, hypot(1.0, x)),),
    "arccosh": (lambda t, y, x: div(div(t, sqrt(sub(x, 1.0))), sqrt(add(x, 1.0))),),
    "arctanh": (lambda t, y, x: div(t, mul(sub(1.0, x), add(1.0, x))),),
    "hypot": (lambda t, y, a, b: mul(t, div(a, y)), lambda t, y, a, b: mul(t, div(b, y))),
    "power": (
        lambda t, y, a, b: mul(t, mul(b, power(a, sub(b, 1.0)))),
        lambda t, y, a, b: mul(t, where(equal(y, 0.0), 0.0, mul(y, log(a)))),
    ),
    "expit": (lambda t, y, x: mul(t, mul(y, expit(neg(x)))),),
    "softplus": (lambda t, y, x: mul(t, expit(x)),),
    "log_cosh": (lambda t, y, x: mul(t, tanh(x)),),
    "logaddexp": (lambda t, y, a, b: mul(t, expit(sub(a, b))), lambda t, y, a, b: mul(t, expit(sub(b, a)))),
    "erf": (lambda t, y, x: mul(t, mul(_gauss(x), _2_SQRT_PI)),),
    "erfc": (lambda t, y, x: neg(mul(t, mul(_gauss(x), _2_SQRT_PI))),),
    "erfcx": (lambda t, y, x: mul(t, _erfcx_slope(x, y)),),
    "ndtr": (lambda t, y, x: mul(t, mul(exp(mul(mul(x, x), -0.5)), _1_SQRT_2PI)),),
    "log_ndtr": (lambda t, y, x: div(mul(t, 2 * _1_SQRT_2PI), erfcx(mul(x, -_SQRT_HALF))),),  # density / tail
    "ndtri": (lambda t, y, p: div(mul(t, exp(mul(mul(y, y), 0.5))), _1_SQRT_2PI),),
    "ndtri_exp": (lambda t, y, x: mul(t, mul(erfcx(mul(y, -_SQRT_HALF)), 0.5 / _1_SQRT_2PI)),),  # tail / density
    "gamma_log_ratio": (
        lambda t, y, a, e: mul(t, sub(apply("gamma_slope_a", a, e), apply("reciprocal", add(1.0, a)))),
        lambda t, y, a, e: mul(t, apply("gamma_slope_e", a, e)),
    ),
    "gammaln": (lambda t, y, x: mul(t, digamma(x)),),
    "digamma": (lambda t, y, x: mul(t, trigamma(x)),),
}


def has_derivatives(var: Var) -> list[bool]:
    """Return for each argument whether the result has a derivative in it, other than zero almost everywhere."""
    if var.kind == "bool":
        return [False] * len(var.args)
    if var.op in ("gather", "scatter"):  # a step function of the index
        return [True, False]
    rules = DERIVATIVES.get(var.op)
    return [True] * len(var.args) if rules is None else [rule is not None for rule in rules]
