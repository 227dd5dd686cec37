"""Derivatives that are exactly zero stay zero where a rule would multiply them by an infinity or NaN.

`where(z > 0, sqrt(z), 0)` gives its first branch a cotangent of zero where z < 0, and the rule of the root multiplies
it by 1 / (2 sqrt(z)), which is NaN there. Below a `where`, and below a minimum, which also passes over infinities, a
zero is therefore selected past every rule that is not linear, and so it is where slices leave out elements that
nothing else reads; below a maximum past rules with a pole. Where no such op lies on the way nothing is added.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mcgrad.ir.build import apply
from mcgrad.ir.ops import OPS, VIEWS
from mcgrad.ir.program import Var


class Zeros(IntEnum):
    """How zeros of a derivative may come about."""

    NONE = 0  # not at all
    CHOSEN = 1  # as elements that were not chosen
    BRANCH = 2  # as a branch not taken, where values may be anything


NONE, CHOSEN, BRANCH = Zeros
REVERSE_ZEROS = {
    "where": BRANCH, "gather": BRANCH, "minimum": BRANCH, "min": BRANCH, "maximum": CHOSEN, "max": CHOSEN,
}  # fmt: skip
FORWARD_ZEROS = dict.fromkeys(
    ["where", "minimum", "maximum", "min", "max", "pad", "concatenate", "scatter_add", "gather"], CHOSEN
)
POLES = {  # a derivative is infinite, or NaN, at arguments where the value is finite, or at the end of what it accepts
    "arccos", "arccosh", "arcsin", "arctan2", "arctanh", "cbrt", "digamma", "divide", "gammaln", "hypot", "log",
    "log10", "log1p", "log2", "ndtri", "ndtri_exp", "power", "reciprocal", "sqrt", "implicit",
}  # fmt: skip
MIXING = {"cumprod", "linear_recurrence", "einsum"}  # add up products of cotangents with other elements' values
REPEATING = {"prod", "native_value"}  # multiply one cotangent with something for each element
SELECTING = {"minimum", "maximum", "where", "nextafter"}  # multiply by nothing


class Unread:
    """Finds elements that nothing reads: of Vars of which derivatives come from slices and takes alone."""

    def __init__(self) -> None:
        self._read: dict[Var, npt.NDArray[np.bool_]] = {}
        self._whole: set[Var] = set()

    def read(self, var: Var, arg: Var) -> None:
        """Note that a derivative comes to an argument from an equation."""
        if var.op not in ("slice", "take"):
            self._whole.add(arg)
        elif arg not in self._whole:
            read = self._read.setdefault(arg, np.zeros(arg.shape, bool))
            if var.op == "slice":
                read[tuple(slice(*bounds) for bounds in var.attrs.bounds)] = True
            else:
                read.flat[var.attrs.index.array.ravel()] = True

    def some(self, var: Var) -> bool:
        """Whether there are any, when all that read the Var were noted."""
        return var not in self._whole and var in self._read and not self._read[var].all()


def keep_zeros(t: Var, term: Var) -> Var:
    """Return a term that is proportional to t, element by element, or zero where t is exactly zero."""
    return apply("where", apply("equal", t, 0.0), 0.0, term)


def is_guarded(var: Var, i: int, zeros: Zeros) -> bool:
    """Whether zeros of this origin have to be kept by hand in the rule of an elementwise op in its argument i."""
    if zeros == NONE or var.op in SELECTING or OPS[var.op].linear:
        return False
    others = var.args  # what a zero is multiplied with is made of these
    if var.op == "multiply":
        others = (var.args[1 - i],)
    elif var.op == "divide" and i == 0:
        others = var.args[1:]
    if all(_is_ordinary(other, nonzero=var.op == "divide") for other in others):
        return False
    return zeros == BRANCH or var.op in POLES


def _is_ordinary(var: Var, nonzero: bool) -> bool:
    """Whether values are finite, and not zero where that matters: literals, and noise."""
    while var.op in VIEWS:
        var = var.args[0]
    if var.is_const:
        return bool(np.all(np.isfinite(var.attrs.array)) and not (nonzero and np.any(var.attrs.array == 0)))
    return var.op == "noise" and not nonzero


def finite(var: Var) -> Var:
    """Return what a draw changes with zeros for infinities and NaN, for sums and recurrences that zeros go into."""
    return apply("where", apply("isfinite", var), var, 0.0) if var.by_draw else var
