"""scipy.special: its ufuncs, known by their names, and its plain functions. SciPy itself is not imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.ops import from_source
from mcgrad.ir.program import Var
from mcgrad.trace.operands import axes_of, operand

Builder = Callable[..., Var]


def _op(name: str) -> Builder:
    return lambda x: apply(name, x)


def _log_expit(x: Var) -> Var:
    return apply("negative", apply("softplus", apply("negative", x)))


def _logit(p: Var) -> Var:
    return apply("subtract", apply("log", p), apply("log1p", apply("negative", p)))


def _x_times(function: str, unit: float) -> Builder:
    """X * f(y), and 0 where x is 0 and f(y) infinite or undefined; `unit` is where f is 0."""

    def build_product(x: Var, y: Var) -> Var:
        if not (x.is_const and bool((x.attrs.array != 0).all())):
            inside = apply("logical_and", apply("less", unit - 1.0, y), apply("isfinite", y))
            harmful = apply("logical_not", apply("logical_or", inside, apply("isnan", y)))
            y = apply("where", apply("logical_and", apply("equal", x, 0.0), harmful), unit, y)
        return apply("multiply", x, apply(function, y))

    return build_product


def _entr(x: Var) -> Var:
    inside = apply("negative", UFUNCS["xlogy"](x, x))
    return apply("where", apply("less", x, 0.0), float("-inf"), inside)


def _betaln(a: Var, b: Var) -> Var:
    """Of a > 20 and b > 0: log Gamma(b) less log(Gamma(a + b) / Gamma(a)), this by Stirling's series.

    The difference of `gammaln` at a + b and a has no digits left for large a.
    """
    plain = apply("subtract", apply("add", apply("gammaln", a), apply("gammaln", b)), apply("gammaln", _plus(a, b)))
    large, small = apply("maximum", a, b), apply("minimum", a, b)
    usable = apply("logical_and", apply("less", 20.0, large), apply("less", 0.0, small))
    large, small = apply("where", usable, large, 21.0), apply("where", usable, small, 1.0)
    total = _plus(large, small)
    rising = _plus(
        apply("multiply", apply("subtract", large, 0.5), apply("log1p", apply("divide", small, large))),
        apply("multiply", small, apply("subtract", apply("log", total), 1.0)),
    )
    rising = _plus(rising, apply("subtract", _stirling(total), _stirling(large)))
    return apply("where", usable, apply("subtract", apply("gammaln", small), rising), plain)


def _plus(a: Var, b: Var) -> Var:
    return apply("add", a, b)


def _stirling(x: Var) -> Var:
    """Log Gamma(x) - (x - 1/2) log x + x - log(2 pi) / 2, for x of 20 and more."""
    inverse = apply("divide", 1.0, x)
    square, series = apply("multiply", inverse, inverse), build.as_var(-1 / 1680)
    for term in (1 / 1260, -1 / 360, 1 / 12):
        series = _plus(apply("multiply", series, square), build.as_var(term))
    return apply("multiply", series, inverse)


UFUNCS: dict[str, Builder] = {
    **{name: _op(name) for name in from_source("scipy.special")},  # the ops themselves
    "psi": _op("digamma"),
    "log_expit": _log_expit,
    "logit": _logit,
    "xlogy": _x_times("log", 1.0),
    "xlog1py": _x_times("log1p", 0.0),
    "entr": _entr,
    "betaln": _betaln,
}


# --- plain functions -------------------------------------------------------------------------------------------------
def _shifted(a: Any, axis: Any) -> tuple[Var, Var, tuple[int, ...], tuple[int, ...]]:
    """Subtract the whole number below the maximum: exp cannot overflow, and no derivative goes through floor."""
    x = build.apply("float", operand(a))
    axes = axes_of(axis, len(x.shape))
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    largest = apply("floor", build.reshape(build.reduce("max", x, axes), kept))
    shift = apply("where", apply("isfinite", largest), largest, 0.0)
    return apply("subtract", x, shift), shift, axes, kept


def logsumexp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """scipy.special.logsumexp, and np.logaddexp.reduce."""
    low, shift, axes, kept = _shifted(a, axis)
    total = build.reshape(build.reduce("sum", apply("exp", low), axes), kept)
    result = apply("add", apply("log", total), shift)
    return result if keepdims else build.reshape(result, tuple(n for i, n in enumerate(kept) if i not in axes))


def softmax(x: Any, axis: Any = None) -> Var:
    """scipy.special.softmax."""
    low, _, axes, kept = _shifted(x, axis)
    weights = apply("exp", low)
    return apply("divide", weights, build.reshape(build.reduce("sum", weights, axes), kept))


def log_softmax(x: Any, axis: Any = None) -> Var:
    """scipy.special.log_softmax."""
    low, _, axes, kept = _shifted(x, axis)
    return apply("subtract", low, apply("log", build.reshape(build.reduce("sum", apply("exp", low), axes), kept)))


FUNCTIONS: dict[str, Builder] = {"logsumexp": logsumexp, "softmax": softmax, "log_softmax": log_softmax}
