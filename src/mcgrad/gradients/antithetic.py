"""Antithetic pairs: the mean of what is averaged over a draw and its mirror image, whose noise is that of one draw.

The mirror image of normal noise eps is -eps, that of uniform noise u is 1 - u. Both have the same distribution as the
draw, so the mean over a pair has the expectation of a draw, and what is odd in the noise drops out of it (Hammersley
and Morton, *A new Monte Carlo technique: antithetic variates*, 1956; Glasserman, *Monte Carlo methods in financial
engineering*, 2003, section 4.2). A pair is one draw of the Program: pairs are independent, the two in one are not.

The mean over a pair is the *even part* of an output, (x + x') / 2; the *odd part* is (x - x') / 2. Of a sum, and of any
linear op, it is that of its parts; of a product with an even factor, the factor times the even part of the other; with
an odd one, the factor times the odd part. So what is linear in normal noise has no variance left, what is even is
computed once, an outer product with the noise stays one, and sums over data are taken once for both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mcgrad.ir.build import apply, broadcast, const, fill_value, rebuild
from mcgrad.ir.ops import OPS, VIEWS
from mcgrad.ir.program import Program, Var, toposort
from mcgrad.simplify.fixed_point import simplify

PAIR = 2  # draws in a pair
STEPS = {"float32": 2.0**-24, "float64": 2.0**-53}  # of which uniforms are multiples
EVEN_OF_ODD = frozenset({"absolute", "cos", "cosh", "log_cosh"})
ODD_OF_ODD = frozenset(
    {"sign", "reciprocal", "cbrt", "sin", "tan", "sinh", "tanh", "arcsin", "arctan", "arcsinh", "arctanh", "erf"}
)


@dataclass(frozen=True, slots=True)
class Parts:
    """A Var and its mirror image, and what they have in common.

    Parameters
    ----------
    mirrored : Var
        Its value at the mirror image of the draw.
    even, odd : Var, optional
        Half the sum and half the difference of the two; None for zero, and both None where the values are no numbers.
    """

    mirrored: Var
    even: Var | None = None
    odd: Var | None = None

    @property
    def is_even(self) -> bool:
        """Whether the two are equal."""
        return self.even is self.mirrored

    @property
    def is_odd(self) -> bool:
        """Whether the two are equal but for the sign."""
        return self.even is None and self.odd is not None


def of_pairs(program: Program) -> Program:
    """Return the Program whose draw is a pair: a draw of the given one and its mirror image, averaged.

    Parameters
    ----------
    program : Program
        Simplified: without ops that only derivatives read.
    """
    program = simplify(program)
    known: dict[Var, Parts] = {}
    for var in toposort(program.roots()):
        known[var] = _parts(var, [known[arg] for arg in var.args], program.dtype)
    outputs = (replace(out, var=_filled(known[out.var].even, out.var)) for out in program.outputs)
    return simplify(Program(tuple(outputs), program.dtype))


def mirrored_uniform(u: Var, dtype: str) -> Var:
    """Return the mirror image of a uniform, 1 - u.

    Notes
    -----
    With u = k s, s = 2**-24 (float64: 2**-53), 1 - u is exact, and a multiple of s, too. But where k = 0 u is s / 2,
    and 1 - u halfway between 1 - s and 1, which is never drawn: the mirror image is 1 - s.
    """
    return apply("minimum", apply("subtract", 1.0, u), 1.0 - STEPS[dtype])


def _parts(var: Var, args: list[Parts], dtype: str) -> Parts:
    """Return the parts of a Var from those of its arguments."""
    if var.op == "noise":
        if var.attrs.law == "normal":
            return _odd(var)
        return _halves(var, mirrored_uniform(var, dtype))
    if all(arg.is_even for arg in args):
        return Parts(var, var)
    if var.kind != "float":
        return Parts(_rebuilt(var, args))
    if var.op == "floor" and (cells := _cells(var.args[0])):
        middle = (cells - 1) / 2
        return Parts(
            apply("subtract", cells - 1, var), broadcast(const(middle), var.shape), apply("subtract", var, middle)
        )
    if var.op in EVEN_OF_ODD and args[0].is_odd:
        return Parts(var, var)
    if var.op in ODD_OF_ODD and args[0].is_odd:
        return _odd(var)
    if OPS[var.op].linear or (var.op == "einsum" and len(args) == 1):
        return _linear(var, args, 0)
    if var.op == "where" and args[0].is_even:
        return _linear(var, args, 1)
    if var.op == "divide" and (args[1].is_even or args[1].is_odd):
        return _product(var, args, 1)
    if var.op in ("multiply", "einsum"):
        for place in (0, 1):
            if args[place].is_even or args[place].is_odd:
                return _product(var, args, place)
    return _halves(var, _rebuilt(var, args))


def _cells(x: Var) -> float | None:
    """Return c where x is c times a uniform, for a whole number c: its floor k says in which of c equal cells u is.

    The mirror image of a cell is c - 1 - k. Of the multiple of s that 1 - u is it would be c - k where u is the lower
    end of a cell, as a float32 uniform always is for the 2**24 cells that discrete families divide further.
    """
    if x.op != "multiply":
        return None
    for u, c in (x.args, x.args[::-1]):
        while u.op in VIEWS:
            u = u.args[0]
        number = fill_value(c)
        if u.op == "noise" and u.attrs.law == "uniform" and number and number > 0 and number % 1 == 0:
            return number
    return None


def _odd(var: Var) -> Parts:
    return Parts(apply("negative", var), None, var)


def _halves(var: Var, mirrored: Var) -> Parts:
    """Return the parts of a Var of which nothing is known."""
    half = [apply("multiply", apply(op, var, mirrored), 0.5) for op in ("add", "subtract")]
    return Parts(mirrored, *half)


def _rebuilt(var: Var, args: list[Parts]) -> Var:
    return rebuild(var, tuple(arg.mirrored for arg in args))


def _linear(var: Var, args: list[Parts], first: int) -> Parts:
    """Return the parts of what is linear in all arguments from `first` on, and even in those before."""
    if all(arg.is_odd for arg in args[first:]):
        return _odd(var)
    before = var.args[:first]
    parts = ([arg.even for arg in args[first:]], [arg.odd for arg in args[first:]])
    even, odd = (
        None
        if all(x is None for x in each)
        else rebuild(var, (*before, *(_filled(x, arg) for x, arg in zip(each, var.args[first:], strict=True))))
        for each in parts
    )
    return Parts(_rebuilt(var, args), even, odd)


def _product(var: Var, args: list[Parts], place: int) -> Parts:
    """Return the parts of a product, or a quotient, one factor of which is even or odd."""
    factor, other = args[place], args[1 - place]

    def times(part: Var | None) -> Var | None:
        if part is None:
            return None
        return rebuild(var, (var.args[0], part) if place == 0 else (part, var.args[1]))

    even, odd = times(other.even), times(other.odd)
    if factor.is_odd:
        even, odd = odd, even
    if odd is None:
        return Parts(var, var)
    return _odd(var) if even is None else Parts(_rebuilt(var, args), even, odd)


def _filled(part: Var | None, like: Var) -> Var:
    """Return a part, which may be zero."""
    return broadcast(const(0.0), like.shape) if part is None else part
