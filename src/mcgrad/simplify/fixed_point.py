"""Rewrite a Program into a cheaper one with the same meaning: share, factor, hoist.

Constants fold, and what holds for every float applies, as equations are built (`ir.build`). Here whole Programs are
rewritten until nothing changes: equal equations become one; factors and summands that no draw changes move out of sums
and scans (`identities`), so that they are computed once on the host; a factor of moderate size of an output moves
behind the mean; an output that is an outer product has one form (`outer_products`).

An identity is exact, or it passes two tests, for whatever values the parameters and the data may have:

- Range. Every new intermediate value is one that the Program had before, times a number of moderate size
  (`magnitude.is_moderate`) or a number of summands, or the reciprocal of one. So `(y * u) * w` is `y * (u * w)` where u
  or w is moderate, and `(z / s) * (z / s)` is not `(z * z) * (1 / s**2)`, which overflows long before.
- Cancellation. A sum is split where its parts are not larger than it is: into normal noise about zero, and all that is
  added to it, in one sum on the host. `sum(z - y)` is not `sum(z) - sum(y)`, which loses the digits that z - y has.

Values that draws change in jumps alone, such as counts, keep their roundings: 49 / 49 is 1, and 49 * (1 / 49) is less.
"""

from dataclasses import replace

from mcgrad.ir.build import apply, broadcast, loop, rebuild
from mcgrad.ir.check import check
from mcgrad.ir.ops import COMMUTATIVE
from mcgrad.ir.program import Level, Output, Program, Var
from mcgrad.ir.rewrite import Sharing, rewrite, rewrite_program
from mcgrad.simplify.identities import EXACT, ROUNDED, of_broadcasts
from mcgrad.simplify.loops import simplify_loops
from mcgrad.simplify.magnitude import is_moderate
from mcgrad.simplify.outer_products import as_einsum
from mcgrad.simplify.step_functions import StepFunctions

PASSES = 8


def simplify(program: Program) -> Program:
    """Apply all identities until none applies (at most PASSES times)."""
    for _ in range(PASSES):
        program = _with_loops(program)
        program, rewritten = _rewritten(program)
        outputs = tuple(_unscaled(out) for out in program.outputs)
        if not rewritten and outputs == program.outputs:
            break
        program = Program(outputs, program.dtype)
    return check(_with_loops(program))


def _with_loops(program: Program) -> Program:
    """Simplify the loops, if there are any."""
    roots = program.roots()
    new = dict(zip(roots, simplify_loops(roots), strict=True))
    if all(new[root] is root for root in roots):
        return program
    outputs = (
        replace(out, var=new[out.var], scale=None if out.scale is None else new[out.scale]) for out in program.outputs
    )
    return Program(tuple(outputs), program.dtype)


def _rewritten(program: Program) -> tuple[Program, bool]:
    """Apply one identity to each equation, and make equal ones one; say whether any identity applied."""
    rule = _Simpler(StepFunctions())
    return rewrite_program(program, rule), rule.rewritten


class _Simpler:
    """The rule that applies one identity to an equation, and makes equal equations one.

    Parameters
    ----------
    is_step : StepFunctions

    Attributes
    ----------
    rewritten : bool
        Whether any identity applied.
    """

    def __init__(self, is_step: StepFunctions) -> None:
        self.is_step, self.rewritten = is_step, False
        self._share = Sharing(COMMUTATIVE)

    def __call__(self, var: Var, args: tuple[Var, ...]) -> Var:
        var = rebuild(var, args)
        if var.op == "loop":
            var = self._loop(var)
        identity = EXACT.get(var.op) or (None if self.is_step(var) else ROUNDED.get(var.op))
        result = (identity(var) if identity else None) or of_broadcasts(var)
        self.rewritten |= result is not None
        result = self._share(result or var)
        self.is_step(result)
        return result

    def _loop(self, var: Var) -> Var:
        """Apply an identity to each equation of a body."""
        attrs, body = var.attrs, var.attrs.body
        rule = _Simpler(self.is_step.of_body(var))
        new = rewrite(body.results, rule)
        self.rewritten |= rule.rewritten
        if all(new[result] is result for result in body.results):
            return var
        results = [new[result] for result in body.results]
        steps = (attrs.carries, attrs.scanned, attrs.length, attrs.reverse)
        return loop(body.params, results, var.args, steps, running=attrs.running)


def _unscaled(out: Output) -> Output:
    """Move a sign or a factor of moderate size behind the mean: squares of the outputs are added up, too."""
    var, scale = out.var, out.scale
    while var.by_draw and var.op in ("multiply", "negative"):
        if var.op == "negative":
            factor, rest = broadcast(apply("negative", 1.0), var.shape), var.args[0]
        else:
            x, y = var.args
            factor, rest = (y, x) if x.by_draw else (x, y)
            if factor.by_draw or not is_moderate(factor) or (out.summed and factor.level is Level.ROW):
                break
        scale = factor if scale is None else apply("multiply", scale, factor)
        var = rest
    return replace(out, var=as_einsum(var), scale=scale)
