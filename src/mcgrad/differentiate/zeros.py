"""Derivatives that are exactly zero stay zero where a rule would multiply them by an infinity or NaN.

`where(z > 0, sqrt(z), 0)` gives its first branch a cotangent of zero where z < 0, and the rule of the root multiplies
it by 1 / (2 sqrt(z)), which is NaN there. Below a `where`, and below a minimum, which also passes over infinities, a
zero is therefore selected past every rule that is not linear, and so it is in an array of which nothing reads some
elements; below a maximum past rules with a pole. Where no such op lies on the way nothing is added, nor is it in the
parts of a concatenation all of whose elements are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mcgrad.ir.build import apply
from mcgrad.ir.interpret import IMPL
from mcgrad.ir.ops import ASSEMBLY, OPS, VIEWS
from mcgrad.ir.program import Var

Mask = npt.NDArray[np.bool_]


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
    """Finds elements that nothing reads: of Vars of which derivatives come from ops that move elements alone.

    Parameters
    ----------
    given : iterable of Var
        Whose derivative is given, in all elements.
    """

    def __init__(self, given: Iterable[Var]) -> None:
        self._read: dict[Var, Mask] = {}
        self._whole = set(given)

    def read(self, var: Var, number: int, arg: Var) -> bool:
        """Note that a derivative comes to an argument from an equation, in which it has a number; say if one does."""
        read = self._read_through(var, number) if passes_on(var) and arg.op != "loop" else None
        if read is not None and not read.any():
            return not arg.size
        if read is None:
            self._whole.add(arg)
        elif arg in self._read:
            self._read[arg] |= read
        else:
            self._read[arg] = read
        return True

    def some(self, var: Var) -> bool:
        """Whether there are any, when all that read the Var were noted."""
        return var not in self._whole and var in self._read and not self._read[var].all()

    def _read_through(self, var: Var, number: int) -> Mask | None:
        """Which elements of an argument the elements of a Var that are read come from; None for all."""
        chosen = self._read[var] if self.some(var) else None
        if chosen is None and var.op not in ("slice", "take", "part"):
            return None
        chosen = np.ones(var.shape, bool) if chosen is None else chosen
        arg = var.args[number]
        if var.op == "concatenate":
            start = sum(x.shape[var.attrs.axis] for x in var.args[:number])
            return np.take(chosen, np.arange(start, start + arg.shape[var.attrs.axis]), var.attrs.axis)
        places = np.arange(1, arg.size + 1).reshape(*arg.shape, 1)
        moved = IMPL[var.op](var, places)[..., 0]  # 0 for the zeros of a pad
        read = np.zeros(arg.size + 1, bool)
        read[moved[chosen]] = True
        return read[1:].reshape(arg.shape)


def passes_on(var: Var) -> bool:
    """Whether each element is one of an argument: what nothing reads of it, nothing reads of that."""
    return var.op in VIEWS or var.op in ASSEMBLY


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
