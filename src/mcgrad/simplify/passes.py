"""Rewrite a Program into a cheaper one with the same meaning: share, factor, hoist.

Constants fold and identities apply as equations are built (`ir.build`). Here whole Programs are rebuilt: equal
equations become one; factors and summands that no draw changes move out of sums and scans, so that they are computed
once on the host; a factor of moderate size of an output moves behind the mean.

A rewrite here is exact, or it passes two tests, for whatever values the parameters and the data may have:

- Range. Every new intermediate value is one that the Program had before, times a number of moderate size
  (`magnitude.is_moderate`) or a number of summands, or the reciprocal of one. So `(y * u) * w` is `y * (u * w)` where u
  or w is moderate, and `(z / s) * (z / s)` is not `(z * z) * (1 / s**2)`, which overflows long before.
- Cancellation. A sum is split where its parts are not larger than it is: into normal noise about zero, and all that is
  added to it, in one sum on the host. `sum(z - y)` is not `sum(z) - sum(y)`, which loses the digits that z - y has.

Values that draws change in jumps alone, such as counts, keep their roundings: 49 / 49 is 1, and 49 * (1 / 49) is less.
"""

from collections.abc import Callable

from mcgrad.ir.build import apply, broadcast, pad, rebuild, reduce, reshape, scan
from mcgrad.ir.check import check
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program, Var
from mcgrad.ir.rewrite import Sharing, rewrite_program
from mcgrad.simplify.magnitude import Steps, has_reciprocal, is_moderate, offsets

COMMUTATIVE = {
    "add",
    "multiply",
    "minimum",
    "maximum",
    "equal",
    "not_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
}
PASSES = 8


def simplify(program: Program) -> Program:
    """Apply all rewrites until none applies (at most PASSES times)."""
    for _ in range(PASSES):
        program, rewritten = _share(program)
        outputs = tuple(_unscaled(out) for out in program.outputs)
        if not rewritten and outputs == program.outputs:
            break
        program = Program(outputs, program.dtype)
    return check(program)


def _share(program: Program) -> tuple[Program, bool]:
    """Rebuild all equations in order, rewritten, equal ones once; and say whether any was rewritten."""
    share, steps, rewritten = Sharing(COMMUTATIVE), Steps(), False

    def simpler(var: Var, args: tuple[Var, ...]) -> Var:
        nonlocal rewritten
        var = rebuild(var, args)
        jumps = steps(var)
        rule = EXACT.get(var.op) or (None if jumps else ROUNDED.get(var.op))
        result = (rule(var) if rule else None) or _small(var)
        rewritten |= result is not None
        result = share(result or var)
        steps(result)
        return result

    return rewrite_program(program, simpler), rewritten


def _unscaled(out: Output) -> Output:
    """Move a sign or a factor of moderate size behind the mean: squares of the outputs are added up, too."""
    var, scale = out.var, out.scale
    while var.by_draw and var.op in ("multiply", "negative"):
        if var.op == "negative":
            factor, rest = broadcast(apply("negative", 1.0), var.shape), var.args[0]
        else:
            x, y = var.args
            factor, rest = (y, x) if x.by_draw else (x, y)
            if factor.by_draw or not is_moderate(factor):
                break
        scale = factor if scale is None else apply("multiply", scale, factor)
        var = rest
    return Output(out.path, var, scale)


def _small(var: Var) -> Var | None:
    """f(broadcast a, broadcast b) = broadcast f(a, b)."""
    if OPS[var.op].group != "elementwise" or not var.shape:
        return None
    if any(arg.op != "broadcast" for arg in var.args) or len({arg.args[0].shape for arg in var.args}) != 1:
        return None
    return broadcast(apply(var.op, *(arg.args[0] for arg in var.args)), var.shape)


def _is_scalar(x: Var) -> bool:
    return x.op == "broadcast" and x.args[0].size == 1


def _scalar(x: Var) -> Var:
    return reshape(x.args[0], ())


def _linear(again: Callable[[Var, Var], Var], var: Var) -> Var | None:
    """Take scalars, and what is added to normal noise, out of a linear sum or scan."""
    (x,) = var.args
    if not x.by_draw:
        return None
    if x.op == "negative":
        return apply("negative", again(var, x.args[0]))
    if x.op == "multiply":
        for factor, rest in (x.args, x.args[::-1]):
            if _is_scalar(factor):  # what is summed now was there before, to be multiplied
                return apply("multiply", _scalar(factor), again(var, rest))
    parts = offsets(x) if x.op in ("add", "subtract") else None
    if parts is None:
        return None
    noise, added = parts
    total = again(var, noise)
    return apply("add", again(var, added), _linear(again, total) or total)


def _sum(var: Var) -> Var | None:
    return _linear(lambda var, x: reduce("sum", x, var.attrs.axes), var)


def _cumsum(var: Var) -> Var | None:
    return _linear(lambda var, x: scan("cumsum", x, var.attrs.axis, var.attrs.reverse), var)


def _multiply(var: Var) -> Var | None:
    """(y * u) * w = y * (u * w) if no draw changes w, else (y * w) * u: factors u and signs move outwards and meet.

    One of the three is of moderate size, so that the new product has about the size of an old one.
    """
    for x, w in (var.args, var.args[::-1]):
        if x.by_draw and x.op == "negative":
            if w.by_draw:
                return apply("negative", apply("multiply", x.args[0], w))
            return apply("multiply", x.args[0], apply("negative", w))
        if x.by_draw and x.op == "multiply":
            for y, u in (x.args, x.args[::-1]):
                if u.by_draw or not (is_moderate(u) or is_moderate(w) or (w.by_draw and is_moderate(y))):
                    continue
                inner, outer = (u, y) if not w.by_draw else (y, u)
                return apply("multiply", outer, apply("multiply", inner, w))
    return None


def _divide(var: Var) -> Var | None:
    """X / s = x * (1 / s), which is one division on the host; 1 / s is finite for every normal s."""
    x, s = var.args
    return apply("multiply", x, apply("reciprocal", s)) if x.by_draw and has_reciprocal(s) else None


def _add(var: Var) -> Var | None:
    """X + (-y) = x - y; x + x = 2 x; pads of one kind add before they are padded."""
    x, y = var.args
    if x is y:
        return apply("multiply", x, 2.0)
    for x, y in (var.args, var.args[::-1]):
        if y.op == "negative":
            return apply("subtract", x, y.args[0])
    if x.op == y.op == "pad" and x.attrs == y.attrs and x.shape == y.shape:
        return pad(apply("add", x.args[0], y.args[0]), x.attrs.widths)
    return None


def _subtract(var: Var) -> Var | None:
    """-x - y = -(x + y); x - (-y) = x + y."""
    x, y = var.args
    if y.op == "negative":
        return apply("add", x, y.args[0])
    return apply("negative", apply("add", x.args[0], y)) if x.op == "negative" else None


def _negative(var: Var) -> Var | None:
    """-(x * u) = x * -u for u that no draw changes; -pad(x) = pad(-x)."""
    (x,) = var.args
    if x.op == "multiply":
        for y, u in (x.args, x.args[::-1]):
            if y.by_draw and not u.by_draw:
                return apply("multiply", y, apply("negative", u))
    if x.op == "pad":
        return pad(apply("negative", x.args[0]), x.attrs.widths)
    return None


EXACT: dict[str, Callable[[Var], Var | None]] = {
    "add": _add,
    "subtract": _subtract,
    "negative": _negative,
    "stop": lambda var: var.args[0],  # what they say is about derivatives, and those have been taken
    "implicit": lambda var: var.args[0],
}
ROUNDED: dict[str, Callable[[Var], Var | None]] = {
    "sum": _sum,
    "cumsum": _cumsum,
    "multiply": _multiply,
    "divide": _divide,
}
