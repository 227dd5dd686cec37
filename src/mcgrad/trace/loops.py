"""`mg.scan`: a loop over steps that stays a loop, of traced values as of plain arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError, shown
from mcgrad.ir import build
from mcgrad.ir.infer import record, recorded
from mcgrad.ir.program import Level, Var, toposort
from mcgrad.reals import count, function
from mcgrad.trace.counted import by_counters
from mcgrad.trace.lines import same_lines
from mcgrad.trace.memory import in_step
from mcgrad.trace.nested import is_nested, leaves, mapped
from mcgrad.trace.operands import operand
from mcgrad.trace.overruns import collected, noted
from mcgrad.trace.refuse import refusal_of
from mcgrad.trace.roll import rolled
from mcgrad.trace.tracer import Tracer, holds_tracer, unwrap
from mcgrad.trace.whole import Steps, arguments_of_steps, not_staying_whole

REDUCE: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean, "max": np.max}
REDUCTIONS = (*REDUCE, "last")
KEEPING = (None, "max", "last")  # reductions of booleans that are booleans
REPEATING = ("broadcast", "reshape", "transpose")  # views of no more numbers than what they are of
_numbers = itertools.count(1 << 20)  # of arguments while they are traced: each another, so that none are equal


def scan(
    step: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    reduce: Any = None,
) -> tuple[Any, Any]:
    """Run ``carry, y = step(carry, x)`` for each x along the first axis of arrays; a loop that compiles as one.

    In an integrand or a transform it takes the place of a Python loop, which is traced turn by turn: compile times do
    not grow with the number of steps, and derivatives are loops, too. On plain arrays it is a Python loop. The meaning
    is that of ``jax.lax.scan``, on one draw.

    Parameters
    ----------
    step : callable
        Plain NumPy. It is traced once: what it does may depend on the values of carry and x by ``np.where`` alone.
    init : array, or nested dicts and tuples of arrays
        The first carry. Each carry has its shapes, and is made of numbers or of booleans as it is.
    xs : array, or nested dicts and tuples of arrays, optional
        Of shapes ``(length, ...)``: step t gets ``x = xs[t]``, nested as xs is. Without it x is None.
    length : int, optional
        The number of steps, where there are no xs.
    reverse : bool
        From the last step to the first; y of step t is then at t, too.
    reduce : {None, "sum", "mean", "max", "last"}, or these nested as y is
        What is returned of the outputs of the steps: all of them, stacked along a first axis (None); their sum, mean or
        maximum; that of the step that runs last. What is reduced takes no memory for each step.

    Returns
    -------
    carry : as init
        After the last step.
    ys : as y, nested dicts and tuples of arrays
        Of shapes ``(length, ...)``, or reduced.

    Raises
    ------
    ParameterError
        Arrays of different lengths, or none and no `length`; a reduction that there is not.
    TraceError
        A step that does not return two values, or a carry that changes its shape or nesting, with the line of `step`.

    Examples
    --------
    >>> import numpy as np
    >>> def step(s, z):
    ...     s = s * np.exp(0.02 * z - 0.0002)
    ...     return s, s
    >>> last, mean = scan(step, 100.0, np.array([1.0, -1.0, 0.5]), reduce="mean")
    >>> round(float(last), 4), round(float(mean), 4)
    (100.9444, 100.9681)

    Notes
    -----
    The reverse pass keeps the carries of all steps of a block of draws, or, of long loops, those before segments of
    steps: memory grows with the root of the length, not with the number of draws.
    """
    function("step", step, "step(carry, x), a function that returns carry, y")
    elements = leaves(xs)
    steps = number_of_steps(elements, length)
    order = range(steps)[::-1] if reverse else range(steps)
    _check_reduce(reduce)
    plain = not holds_tracer([*leaves(init).values(), *elements.values()])
    if plain and steps:
        with collected():
            first = _called(step, init, element(xs, order[0]), init)
        if not holds_tracer([*leaves(first[0]).values(), *leaves(first[1]).values()]):
            return _in_python(step, init, xs, order, first, reduce)
    carry, ys = traced(step, init, xs, steps, reverse, reduce)
    if plain and not steps:  # which no value of an array depends on
        return mapped(lambda path, x: np.asarray(x)[()], init), mapped(lambda path, y: np.zeros(y.shape, y.dtype), ys)
    return carry, ys


def number_of_steps(elements: dict[str, Any], length: int | None, name: str = "length") -> int:
    """Return the number of steps, of which `name` is the argument that says how many."""
    found = None if length is None else count(name, length, 0)
    for path, x in elements.items():
        shape = np.shape(x) if not isinstance(x, Tracer) else x.shape
        if not shape:
            raise ParameterError(f"xs{path}", "an array without axes", f"arrays ({name}, ...), or {name}= without xs")
        if found is None:
            found = shape[0]
        if shape[0] != found:
            given = name if length is not None else "the others"
            raise ParameterError(f"xs{path}", f"an array of shape {shape}", f"{found} elements, as {given}")
    if found is None:
        raise ParameterError(name, f"neither {name} nor xs", "a number of steps, or arrays with one element for each")
    return found


def _check_reduce(reduce: Any) -> None:
    for name in [reduce] if not is_nested(reduce) else leaves(reduce).values():
        if name is not None and name not in REDUCTIONS:
            raise ParameterError("reduce", shown(name), f"None, {', '.join(REDUCTIONS)}, or these nested as y is")


def element(xs: Any, t: int) -> Any:
    """Return what step t gets of xs."""
    return mapped(lambda path, x: x[t] if isinstance(x, Tracer) else np.asarray(x)[t], xs)


def own(values: Any) -> Any:
    """Return copies of arrays: a step that writes to them changes neither what the loop began with nor its outputs."""
    return mapped(lambda path, x: x.copy() if isinstance(x, np.ndarray | Tracer) and x.shape else x, values)


def _called(step: Callable[..., Any], carry: Any, x: Any, init: Any) -> tuple[Any, Any]:
    """Run one step; check that there are two results, and that the next carry is nested as the first."""
    result = step(own(carry), own(x))
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise refusal_of(step, f"a step returns {shown(result)}; return carry, y, or carry, None without outputs")
    after, y = result
    check_carry(step, after, init)
    return after, y


def check_carry(step: Callable[..., Any], after: Any, init: Any) -> None:
    """Refuse a carry that a step returns in another nesting, shape or kind than that of the first."""
    before, now = leaves(init), leaves(after)
    if list(before) != list(now):
        given = [path or "one array" for path in now]
        raise refusal_of(step, f"the carry is {', '.join(given)} after a step; it has to stay nested as init is: "
                               f"{', '.join(path or 'one array' for path in before)}")  # fmt: skip
    for path, value in now.items():
        if _shape(value) != _shape(before[path]):
            raise refusal_of(
                step,
                f"carry{path} has shape {_shape(before[path])} in init and {_shape(value)} after a step; a carry keeps "
                f"its shape: begin with np.broadcast_to(init, {_shape(value)}), or sum over what is new",
            )
        if (_kind(value) == "b") != (_kind(before[path]) == "b"):
            kinds = {True: "booleans", False: "numbers"}
            raise refusal_of(
                step,
                f"carry{path} is made of {kinds[_kind(before[path]) == 'b']} in init and of "
                f"{kinds[_kind(value) == 'b']} after a step; begin with False or with 0.0 as the step returns them",
            )


def _shape(value: Any) -> tuple[int, ...]:
    return value.shape if isinstance(value, Tracer) else np.shape(value)


def _kind(value: Any) -> str:
    return value.dtype.kind if isinstance(value, Tracer) else np.asarray(value).dtype.kind


# --- plain arrays ----------------------------------------------------------------------------------------------------
def _in_python(
    step: Callable[..., Any], init: Any, xs: Any, order: Sequence[int], first: tuple[Any, Any], reduce: Any
) -> tuple[Any, Any]:
    carry, y = first
    outputs = [y]
    for t in order[1:]:
        carry, y = _called(step, carry, element(xs, t), init)
        outputs.append(y)
    collected = [leaves(y) for y in outputs]
    how = _reductions(reduce, y)

    def reduced(path: str, value: Any) -> Any:
        rows = [each[path] for each in collected]
        name = how[path]
        if name is None:
            return np.stack(rows[:: 1 if order[0] == 0 else -1])
        return value if name == "last" else REDUCE[name](rows, axis=0)

    return mapped(lambda path, x: np.asarray(x)[()], carry), mapped(reduced, y)


def _reductions(reduce: Any, y: Any) -> dict[str, str | None]:
    """How each output is reduced, by its path."""
    outputs = leaves(y)
    if not is_nested(reduce) or reduce is None:
        return dict.fromkeys(outputs, reduce)
    named = leaves(mapped(lambda path, name: name or "stack", _without_none(reduce)))
    if list(named) != list(outputs):
        raise ParameterError("reduce", f"names for {', '.join(named)}", f"one name, or names for {', '.join(outputs)}")
    return {path: None if name == "stack" else name for path, name in named.items()}


def _without_none(reduce: Any) -> Any:
    if reduce is None:
        return "stack"
    if isinstance(reduce, dict):
        return {key: _without_none(part) for key, part in reduce.items()}
    return type(reduce)(map(_without_none, reduce)) if isinstance(reduce, tuple | list) else reduce


# --- traced values ---------------------------------------------------------------------------------------------------
def traced(
    step: Callable[..., Any],
    init: Any,
    xs: Any,
    length: int,
    reverse: bool = False,
    reduce: Any = None,
    running: bool = False,
) -> tuple[Any, Any]:
    """Make the loop of a scan of traced values; arguments and results are those of `scan`.

    With `running` the last carry says whether further steps change the others.
    """
    with recorded() as made:
        results = _traced(step, init, xs, length, reverse, reduce, running)
    read, work = set(), [value._var for part in results for value in leaves(part).values()]
    own = set(made)
    while work:
        var = work.pop()
        if var in own and var not in read:
            read.add(var)
            work += var.args
    record(var for var in made if var in read)  # without the equations of the step, which the loop has its own of
    return results


def _traced(
    step: Callable[..., Any], init: Any, xs: Any, length: int, reverse: bool, reduce: Any, running: bool
) -> tuple[Any, Any]:
    begin = {path: operand(unwrap(x)) for path, x in leaves(init).items()}
    arrays = {path: operand(unwrap(x)) for path, x in leaves(xs).items()}
    carried = {path: _leaf(var.shape, var.level) for path, var in begin.items()}
    elements = {path: _leaf(var.shape[1:], var.level) for path, var in arrays.items()}
    carry = mapped(lambda path, _: Tracer(_of_kind(carried[path], begin[path])), init)
    x = mapped(lambda path, _: Tracer(_of_kind(elements[path], arrays[path])), xs)
    first = {carried[path]: var for path, var in begin.items()} | {elements[path]: var for path, var in arrays.items()}
    with collected() as overruns, recorded() as steps, arguments_of_steps(first) as whole, in_step():
        after, y = _called(step, carry, x, init)
    record(steps)
    new = [build.apply("float", operand(unwrap(value))) for value in leaves(after).values()]
    _check_indices(step, whole, carried, new)
    outputs = {path: operand(unwrap(value)) for path, value in leaves(y).items()}
    how = _reductions(reduce, y)
    starts = [build.apply("float", var) for var in begin.values()]
    params = [*carried.values()]
    for path, var in outputs.items():
        if how[path] is not None:
            start, total, result = _accumulated(how[path], build.apply("float", var), length)
            starts.append(start)
            params.append(total)
            new.append(result)
    for each in overruns:  # of loops in the step: whether any of them has overrun so far
        held = build.apply("stop", build.apply("float", each.flag))  # no jump of what the step computes
        _, total, result = _accumulated("max", held, 1)
        starts.append(build.const(0.0))
        params.append(total)
        new.append(result)
    stacked = [path for path in outputs if how[path] is None]
    results = [*new, *(build.apply("float", outputs[path]) for path in stacked)]
    by_step = {leaf: build.apply("float", arrays[path]) for path, leaf in elements.items()}
    results, indexed = by_counters(rolled(results, steps), {*params, *by_step}, by_step, length, _leaf)
    by_step |= indexed
    args = [*starts, *by_step.values()]
    loop = (len(starts), len(by_step), length, reverse)
    found = _loop([*params, *by_step], results, args, loop, len(begin) - 1 if running else None)
    values = dict(zip(begin, found, strict=False))
    rest = iter(found[len(begin) :])
    made = {path: next(rest) for path in outputs if how[path] is not None}
    noted([replace(each, flag=build.apply("not_equal", next(rest), 0.0)) for each in overruns])
    made |= {path: next(rest) for path in stacked}
    if any(name == "mean" for name in how.values()):
        made |= {path: build.apply("divide", made[path], float(length)) for path in outputs if how[path] == "mean"}
    return (
        mapped(lambda path, _: Tracer(_of_kind(values[path], begin[path])), init),
        mapped(lambda path, _: Tracer(_of_kind(made[path], outputs[path]) if how[path] in KEEPING else made[path]), y),
    )


def _check_indices(step: Callable[..., Any], whole: Steps, carried: dict[str, Var], new: Sequence[Var]) -> None:
    """Refuse carries that index, and are not whole after a step."""
    wrong = not_staying_whole(whole, dict(zip(carried.values(), new, strict=True)))
    for path in (path for path, leaf in carried.items() if leaf in wrong):
        raise refusal_of(
            step,
            f"carry{path} indexes an array in a step, and may have fractions after it; cut them off where it indexes, "
            "carry.astype(int)",
        )


def _leaf(shape: tuple[int, ...], level: Level) -> Var:
    return build.argument(next(_numbers), shape, level)


def _of_kind(var: Var, like: Var) -> Var:
    """Numbers as they are; booleans, which a loop hands on as 0 and 1, as booleans again."""
    return var if like.kind == "float" else build.apply("not_equal", var, 0.0)


def _accumulated(how: str | None, y: Var, length: int) -> tuple[Var, Var, Var]:
    """What an output is reduced in: a carry's start, its leaf, and its next value."""
    if not length and how != "sum":
        raise ParameterError("reduce", f"{how!r} of no steps", '"sum", or at least one step')
    total = _leaf(y.shape, Level.CONSTANT)
    start = build.broadcast(build.const(-np.inf if how == "max" else 0.0), y.shape)
    if how == "last":
        return start, total, y
    return start, total, build.apply("maximum" if how == "max" else "add", total, y)


def _loop(
    params: Sequence[Var],
    results: Sequence[Var],
    args: Sequence[Var],
    loop: tuple[int, int, int, bool],
    running: int | None,
) -> list[Var]:
    """The results of a loop whose body may read Vars from outside, which become arguments."""
    depends = set(params)
    order = list(toposort(results))
    for var in order:
        if not depends.isdisjoint(var.args):
            depends.add(var)
    read = [arg for var in order if var in depends for arg in var.args] + list(results)
    outer = [*dict.fromkeys(_outer(var) for var in read if var not in depends)]
    outer = [var for var in outer if not var.is_const]
    leaves_ = [_leaf(var.shape, var.level) for var in outer]
    floats = [build.apply("float", var) for var in outer]
    inside = {var: _of_kind(leaf, var) for var, leaf in zip(outer, leaves_, strict=True)}
    new: dict[Var, Var] = {}
    closed = build.again(results, inside, new)
    made: dict[Var, Var] = {}
    var = build.loop([*params, *leaves_], closed, [*args, *floats], loop, made, running)
    same_lines({old: made.get(now, now) for old, now in new.items()})
    carries, _, length, _ = loop
    shapes = [*(x.shape for x in results[:carries]), *((length, *x.shape) for x in results[carries:])]
    found, start = [], 0
    for shape in shapes:
        found.append(build.part(var, start, shape))
        start += found[-1].size
    return found


def _outer(var: Var) -> Var:
    """What a step reads from outside: for what is repeated or arranged inside of it, that."""
    while var.op in REPEATING:
        var = var.args[0]
    return var
