"""NumPy's functions of polynomials: their values, their matrices of powers, and the products of their coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.contract import contract
from mcgrad.trace.operands import operand
from mcgrad.trace.refuse import refusal


def polyval(p: Sequence[Any], x: Any) -> Var:
    """np.polyval, by Horner's rule."""
    coefficients = operand(p)
    if len(coefficients.shape) != 1:
        raise ValueError("polyval takes a one-dimensional sequence of coefficients")
    point = operand(x)
    result = build.as_var(np.zeros(point.shape))
    for k in range(coefficients.size):
        term = build.reshape(build.slice_(coefficients, [(k, k + 1, 1)]), ())
        result = term if k == 0 else build.apply("add", build.apply("multiply", result, point), term)
    return build.broadcast(result, point.shape) if coefficients.size == 1 else result


def vander(x: Any, N: Any = None, increasing: bool = False) -> Var:
    """np.vander: powers as running products."""
    points = operand(x)
    if len(points.shape) != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    count = points.size if N is None else int(N)
    if count < 1:
        return build.const(np.zeros((points.size, 0)))
    ones = build.broadcast(build.const(1.0), (points.size, 1))
    factors = build.broadcast(build.reshape(build.apply("float", points), (points.size, 1)), (points.size, count - 1))
    powers = build.scan("cumprod", build.concatenate([ones, factors], 1), 1)
    return powers if increasing else build.flip(powers, (1,))


def convolve(a: Any, v: Any, mode: Any = "full") -> Var:
    """np.convolve: the windows of the longer sequence, times the other one."""
    x, y = (build.reshape(part, (1,)) if not part.shape else part for part in (operand(a), operand(v)))
    if len(x.shape) != 1 or len(y.shape) != 1:
        raise ValueError("object too deep for desired array")
    if not x.size or not y.size:
        raise ValueError(f"{'a' if not x.size else 'v'} cannot be empty")
    if x.size < y.size:
        x, y = y, x
    if mode not in BEGINNINGS:
        raise refusal(f"np.convolve with mode={mode!r}", "modes are 'full', 'same' and 'valid'")
    first, last = BEGINNINGS[mode](x.size, y.size)
    padded = build.pad(build.apply("float", x), [(y.size - 1, y.size - 1, 0)])
    places = np.arange(first, last)[:, None] + np.arange(y.size)[::-1]
    return contract([["out", "of"], ["of"]], ["out"], [build.take(padded, places), y])


BEGINNINGS: dict[str, Any] = {  # the elements of the full convolution that a mode keeps, from one on to before another
    "full": lambda m, n: (0, m + n - 1),
    "same": lambda m, n: ((n - 1) // 2, (n - 1) // 2 + m),
    "valid": lambda m, n: (n - 1, m),
}
