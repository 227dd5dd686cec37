"""Rewrite a Program into a cheaper one with the same meaning: share, factor, hoist.

Constants fold and identities apply as equations are built (`ir.build`). Here whole Programs are rebuilt: equal
equations become one; factors and summands that no draw changes move out of sums and scans, so that they are computed
once on the host; a draw-independent factor of an output moves behind the mean.
"""

from collections.abc import Callable

from mcgrad.ir.build import apply, broadcast, pad, rebuild, reduce, reshape, scan
from mcgrad.ir.check import check
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program, Var, ancestors

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
PASSES = 4


def simplify(program: Program) -> Program:
    """Apply all rewrites until nothing changes (at most PASSES times)."""
    before = -1
    for _ in range(PASSES):
        program = _share(program)
        program = Program(tuple(_unscaled(out) for out in program.outputs), program.dtype)
        after = len(program.equations())
        if after == before:
            break
        before = after
    return check(_share(program))


def _share(program: Program) -> Program:
    """Rebuild all equations in order, rewritten, equal ones once."""
    new: dict[Var, Var] = {}
    seen: dict[object, Var] = {}

    def intern(var: Var) -> Var:
        args = var.args
        if var.op in COMMUTATIVE:
            args = tuple(sorted(args, key=id))
        return seen.setdefault((var.op, args, var.attrs, var.shape, var.kind), var)

    for var in ancestors(program.roots()):
        args = tuple(new[arg] for arg in var.args)
        rebuilt = var if args == var.args else rebuild(var, args)
        rewrite = REWRITES.get(rebuilt.op)
        result = (rewrite(rebuilt) if rewrite else None) or _small(rebuilt) or rebuilt
        new[var] = intern(result)
    outputs = tuple(
        Output(out.path, new[out.var], None if out.scale is None else new[out.scale]) for out in program.outputs
    )
    return Program(outputs, program.dtype)


def _unscaled(out: Output) -> Output:
    """Move a draw-independent factor of an output behind the mean."""
    var, scale = out.var, out.scale
    while var.random and var.op in ("multiply", "negative"):
        if var.op == "negative":
            factor, rest = broadcast(apply("negative", 1.0), var.shape), var.args[0]
        else:
            x, y = var.args
            if x.random and y.random:
                break
            factor, rest = (y, x) if x.random else (x, y)
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
    """Take scalars and draw-independent summands out of a linear sum or scan."""
    (x,) = var.args
    if not x.random:
        return None
    if x.op == "negative":
        return apply("negative", again(var, x.args[0]))
    if x.op == "multiply":
        for factor, rest in (x.args, x.args[::-1]):
            if _is_scalar(factor):
                return apply("multiply", _scalar(factor), again(var, rest))
    if x.op in ("add", "subtract") and not all(arg.random for arg in x.args):
        return apply(x.op, *(again(var, arg) for arg in x.args))
    return None


def _sum(var: Var) -> Var | None:
    return _linear(lambda var, x: reduce("sum", x, var.attrs), var)


def _cumsum(var: Var) -> Var | None:
    return _linear(lambda var, x: scan("cumsum", x, *var.attrs), var)


def _multiply(var: Var) -> Var | None:
    """(y * u) * w = y * (u * w) if no draw changes w, else (y * w) * u: factors u and signs move outwards and meet."""
    for x, w in (var.args, var.args[::-1]):
        if x.op == "negative":
            if w.random:
                return apply("negative", apply("multiply", x.args[0], w))
            return apply("multiply", x.args[0], apply("negative", w))
        if x.random and x.op == "multiply":
            for y, u in (x.args, x.args[::-1]):
                if not u.random:
                    inner, outer = (u, y) if not w.random else (y, u)
                    return apply("multiply", outer, apply("multiply", inner, w))
    return None


def _add(var: Var) -> Var | None:
    """X + (-y) = x - y; x + x = 2 x; pads of one kind add before they are padded."""
    x, y = var.args
    if x is y:
        return apply("multiply", x, 2.0)
    for x, y in (var.args, var.args[::-1]):
        if y.op == "negative":
            return apply("subtract", x, y.args[0])
        if x.op == "add" and y.op == "pad":
            for a, b in (x.args, x.args[::-1]):
                if _same_pad(a, y):
                    return apply("add", pad(apply("add", a.args[0], y.args[0]), y.attrs), b)
    return pad(apply("add", x.args[0], y.args[0]), x.attrs) if _same_pad(x, y) else None


def _same_pad(x: Var, y: Var) -> bool:
    return x.op == y.op == "pad" and x.attrs == y.attrs and x.shape == y.shape


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
            if y.random and not u.random:
                return apply("multiply", y, apply("negative", u))
    if x.op == "pad":
        return pad(apply("negative", x.args[0]), x.attrs)
    return None


REWRITES: dict[str, Callable[[Var], Var | None]] = {
    "sum": _sum,
    "cumsum": _cumsum,
    "multiply": _multiply,
    "add": _add,
    "subtract": _subtract,
    "negative": _negative,
    "stop": lambda var: var.args[0],  # what they say is about derivatives, and those have been taken
    "implicit": lambda var: var.args[0],
}
