"""Find equations that may have a kink without a comparison, such as sqrt(z**2), by the ranges of their arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from mcgrad.differentiate.domains import is_smooth
from mcgrad.gradients.vibrato_steps import Noise
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var, toposort, with_bodies
from mcgrad.ir.ranges import Ranges, of_signs, of_values, ranges
from mcgrad.ir.spaces import Values

CONTINUOUS = {"sqrt", "cbrt", "hypot", "arcsin", "arccos", "arccosh"}  # at the ends of their domains
NORMS = {"sqrt", "hypot"}
OF_SEVERAL = {"sum", "einsum", "add"}


class Smoothness:
    """What is known of the equations of a value, for parameters and data with the signs that they have at first.

    Parameters
    ----------
    value : Var
    values : dict of Input to array
        Of the inputs, on the host.
    """

    def __init__(self, value: Var, values: Values) -> None:
        self._value = value
        order = list(toposort([value]))
        fixed = [var for var in order if not var.by_draw and not var.is_const]
        leaves = {var: np.asarray(values[var.attrs])[..., None] for var in fixed if var.op == "input"}
        found = Interpreter(fixed)(leaves) if fixed else []
        moving: set[Var] = set()  # what another call may change
        for var in fixed:
            if var.op == "input" or not moving.isdisjoint(var.args):
                moving.add(var)
        given = {
            var: of_signs(x[..., 0]) if var in moving else of_values(x[..., 0])
            for var, x in zip(fixed, found, strict=True)
        }
        self._inner: dict[Var, Ranges] = {}
        self._ranges = ranges(order, given, self._inner)

    def unsure(self, a: Collection[Var], b: Collection[Var]) -> Iterator[Var]:
        """Yield equations whose derivative may jump, or is infinite, somewhere between the values of draws.

        Parameters
        ----------
        a, b : collection of Var
            What follows the parameter of the gradient, and the one that it is differentiated in.
        """
        known = {**self._ranges, **self._inner}
        for var in with_bodies(toposort([self._value])):
            moved = [arg for arg in self._arguments(var) if arg in b and arg.by_draw]
            if OPS[var.op].derivative != "ends" or not moved or (var.op in CONTINUOUS and var not in a):
                continue
            if not all(arg in known for arg in var.args) or not is_smooth(var, *(known[arg] for arg in var.args)):
                yield var

    def _arguments(self, var: Var) -> tuple[Var, ...]:
        """The arguments that are at an end of the domain."""
        return var.args[1:] if var.op == "divide" else var.args[:1] if var.op.startswith("solve") else var.args

    def is_norm(self, var: Var) -> bool:
        """Whether this is the root of a sum over several numbers of noise: zero at single points, and not on a surface.

        There the second derivative is infinite, and its mean is right.
        """
        if var.op not in NORMS:
            return False
        (x, *_) = var.args
        while x.op in ("reshape", "broadcast", "transpose"):
            (x,) = x.args
        if var.op != "hypot" and x.op not in OF_SEVERAL:
            return False
        read = [np.stack(low_high) for low_high in Noise(self._value).ranges(var.args, []).values()]
        if var.op == "hypot":
            return len(read) == 2 and not np.array_equal(read[0], read[1])
        return any(bool(np.any(low < high)) for low, high in read)
