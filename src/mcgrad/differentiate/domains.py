"""Where the derivatives of ops exist, and are continuous, by the ranges of their arguments.

Of ops that are not smooth everywhere: those whose derivative is infinite, or not there, at the end of a domain, or at
points between, such as sqrt at 0 or a quotient where the divisor passes zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var
from mcgrad.ir.ranges import Ranges, inside, nonzero, positive

Domain = Callable[..., Any]  # of an equation and the ranges of its arguments: where elements are smooth


def is_smooth(var: Var, *args: Ranges) -> bool:
    """Whether an equation has all its derivatives, whatever values its arguments have in their ranges."""
    if OPS[var.op].derivative == "smooth":
        return True
    with np.errstate(invalid="ignore"):  # the remainder of an infinite end
        return var.op in DOMAINS and bool(np.all(DOMAINS[var.op](var, *args)))


def _power(var: Var, x: Ranges, y: Ranges) -> Any:
    whole = (y[..., 0] == y[..., 1]) & (y[..., 0] % 1 == 0)
    return positive(x) | (whole & ((y[..., 0] >= 0) | nonzero(x)))


DOMAINS: dict[str, Domain] = {
    **dict.fromkeys(("sqrt", "log", "log2", "log10", "gammaln", "digamma", "trigamma"), lambda var, x: positive(x)),
    **dict.fromkeys(("cbrt", "reciprocal"), lambda var, x: nonzero(x)),
    **dict.fromkeys(("arcsin", "arccos", "arctanh"), lambda var, x: inside(x, -1.0, 1.0)),
    "divide": lambda var, x, y: nonzero(y),
    "power": _power,
    "hypot": lambda var, x, y: nonzero(x) | nonzero(y),
    "arctan2": lambda var, y, x: positive(x) | nonzero(y),
    "arccosh": lambda var, x: x[..., 0] > 1.0,
    "log1p": lambda var, x: x[..., 0] > -1.0,
    "tan": lambda var, x: inside(x, -np.pi / 2, np.pi / 2),
    "ndtri": lambda var, p: positive(p) & (p[..., 1] < 1.0),
    "ndtri_exp": lambda var, x: (x[..., 1] <= 0) & nonzero(x),
}
