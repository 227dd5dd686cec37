"""Loops back over the steps of another, in which the steps that no draw of a block has taken may be left out.

The derivative of a loop that draws leave says, of each step, whether the draw takes it, and in all others keeps what it
carries (`differentiate/loops`). Here that is found again, whatever rewrites were in between: each result is
``where(taken, new, old)``, with `taken` from the carry by which the loop ahead ends. Then that loop may end, though it
stacks what it carries: nothing reads the steps that are left out.
"""

from __future__ import annotations

from math import prod

from mcgrad.codegen.loops.access import resolve
from mcgrad.ir.build import is_fill
from mcgrad.ir.ops import VIEWS
from mcgrad.ir.program import Program, Var

LONGEST = 1 << 24  # steps up to which float32 can say how many were taken


def loops_back(program: Program) -> dict[Var, Var]:
    """Return loops back, each with the loop ahead whose steps it need only go back over: of a lowered Program."""
    readers: dict[Var, list[Var | None]] = {}
    read: list[tuple[Var | None, Var]] = [(None, out.var) for out in program.outputs]
    read += [(var, arg) for var in program.equations() if var.op not in VIEWS for arg in var.args]
    for reader, arg in read:
        access = resolve(arg)
        ahead = access.base
        if ahead.op == "loop" and ahead.attrs.running is not None:
            last = access.offset if access.table is None else int(access.table.max())
            if access.table is None:
                last += sum(max(s * (n - 1), 0) for s, n in zip(access.strides, access.shape, strict=True))
            if last >= ahead.attrs.carried:
                readers.setdefault(ahead, []).append(reader)
    found: dict[Var, Var] = {}
    for ahead, each in readers.items():
        if all(back is not None and _goes_back(back, ahead) for back in each):
            found |= {back: ahead for back in each if back is not None}
    return found


def _goes_back(back: Var, ahead: Var) -> bool:
    """Whether a loop changes nothing in steps that a loop ahead of it leaves out, and reads it by step alone."""
    if back.op != "loop" or back.attrs.reverse == ahead.attrs.reverse or ahead.attrs.reverse:
        return False
    attrs, body = back.attrs, back.attrs.body
    carries, by_step = attrs.carries, range(attrs.carries, attrs.carries + attrs.scanned)
    if not attrs.length == ahead.attrs.length <= LONGEST:
        return False
    if any(
        resolve(arg).base is ahead and _reads_steps(arg, ahead) for i, arg in enumerate(back.args) if i not in by_step
    ):
        return False
    flags = {body.params[i] for i in by_step if _is_flag(back.args[i], ahead)}
    olds = [*body.params[:carries], *[None] * (len(body.results) - carries)]
    return all(_keeps(result, old, flags) for result, old in zip(body.results, olds, strict=True))


def _reads_steps(arg: Var, ahead: Var) -> bool:
    access = resolve(arg)
    return access.table is not None or access.offset >= ahead.attrs.carried or access.is_whole


def _is_flag(arg: Var, ahead: Var) -> bool:
    """Whether an argument by step is, of each step, the carry by which a loop ends, before the step."""
    access, attrs = resolve(arg), ahead.attrs
    flag = attrs.body.params[attrs.running]
    for result, (start, shape) in zip(attrs.body.results, attrs.places(), strict=True):
        if (
            access.base is ahead
            and (access.offset, prod(access.shape)) == (start, prod(shape))
            and access.table is None
        ):
            return _source(result) is flag
    return False


def _keeps(result: Var, old: Var | None, flags: set[Var]) -> bool:
    """Whether a result is `old`, or zero where there is none, in steps in which a flag is zero."""
    while result.op in ("copy", "reshape"):
        (result,) = result.args
    if result.op != "where":
        return False
    taken, _, kept = result.args
    test = _source(taken)
    is_taken = test.op == "not_equal" and _source(test.args[0]) in flags and _is_zero(test.args[1])
    return is_taken and (_is_zero(kept) if old is None else _source(kept) is old)


def _source(x: Var) -> Var:
    while x.op in VIEWS or x.op == "copy":
        x = x.args[0]
    return x


def _is_zero(x: Var) -> bool:
    return is_fill(x, 0.0)
