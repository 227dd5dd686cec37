"""Derivatives of a function of the state along directions, while it is traced and on plain arrays.

Milstein's scheme reads the derivative of the diffusion. While f is traced, this is forward mode on the equations of the
step. On plain arrays the function is traced at its first call, and its equations are interpreted at each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.differentiate.modes import pushed_forward
from mcgrad.ir import build
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Var, toposort
from mcgrad.sde.state import leafwise, shape_of
from mcgrad.trace.intercept import intercepted
from mcgrad.trace.lines import noted, same_lines
from mcgrad.trace.nested import leaves, mapped
from mcgrad.trace.operands import operand
from mcgrad.trace.tracer import Tracer, unwrap

MOVING = ("view", "assembly")  # categories of ops that only move elements
FEW = 16
NOTHING, SEVERAL = 0.0, 1.0  # zeros are what is padded; elements have numbers from 2 on

_numbers = itertools.count(1 << 24)  # of leaves, none of which are equal


def along(values: Any, x: Any, direction: Any) -> Any:
    """Return the derivative of values along a direction, nested as they are; 0 where a leaf does not depend on x.

    Parameters
    ----------
    values : nested arrays
        Functions of x.
    x : nested Tracers
        The state, each leaf another Var.
    direction : nested arrays
        Nested as x, of shapes that broadcast to its leaves'.
    """
    seeds = {}
    for path, leaf in leaves(x).items():
        step = build.apply("float", operand(unwrap(leaves(direction)[path])))
        seeds[leaf._var] = build.broadcast(step, leaf.shape)
    flat = {path: value for path, value in leaves(values).items() if isinstance(value, Tracer)}
    tangents = dict(zip(flat, pushed_forward([value._var for value in flat.values()], seeds), strict=True))
    found = {
        path: 0.0 if (t := tangents.get(path)) is None else Tracer(noted(t, list(seeds))) for path in leaves(values)
    }
    return mapped(lambda path, _: found[path], values)


def product(values: Any, x: Any, direction: Any) -> Any:
    """Return the derivative of values along a direction, as a sum of derivatives times numbers of the direction.

    It is that of `along`, but where a slope is infinite and the direction zero: sqrt(max(x, 0)) along itself is 1/2 for
    x above 0, and jumps there. `along`, which keeps zeros, has 0 at x = 0; this has NaN, by which a jump is found.
    States of more than `FEW` numbers that depend on one another are differentiated along the direction.
    """
    if all(own is not False for own in reads_own_alone(values, x).values()):
        return _times(along(values, x, mapped(lambda path, _: 1.0, x)), direction)
    if sum(leaf.size for leaf in leaves(x).values()) > FEW:
        return along(values, x, direction)
    total = mapped(lambda path, _: 0.0, values)
    for path, leaf in leaves(x).items():
        for i in np.ndindex(leaf.shape):
            unit = np.zeros(leaf.shape)
            unit[i] = 1.0
            slopes = along(values, x, _only(x, path, unit))
            total = _sum_of(total, slopes, leaves(direction)[path], i)
    return total


def _only(x: Any, path: str, seed: Any) -> Any:
    return mapped(lambda other, _: seed if other == path else 0.0, x)


def _sum_of(total: Any, slopes: Any, step: Any, i: tuple[int, ...]) -> Any:
    number = step[i] if shape_of(step) else step
    return leafwise(lambda before, slope: before + slope * number, total, slopes)


def _times(slopes: Any, direction: Any) -> Any:
    return leafwise(lambda slope, step: 0.0 if not isinstance(slope, Tracer) else slope * step, slopes, direction)


def reads_own_alone(values: Any, x: Any) -> dict[str, bool | None]:
    """Return of each leaf of values whether its element i depends on no other number of x than element i of that leaf.

    Parameters
    ----------
    values : nested arrays
        Functions of x, nested as it is.
    x : nested Tracers

    Returns
    -------
    dict from path to bool, or None where a leaf depends on nothing of x.
    """
    found: dict[str, bool | None] = {}
    for path, value in leaves(values).items():
        read = {source: _sources(value, leaf._var) for source, leaf in leaves(x).items()}
        own, size = read.pop(path), leaves(x)[path].size
        if not own.any() and not any(each.any() for each in read.values()):
            found[path] = None
            continue
        diagonal = own.size == size and bool(
            ((own == NOTHING) | (own.ravel() == _numbered(size)).reshape(own.shape)).all()
        )
        found[path] = diagonal and not any(each.any() for each in read.values())
    return found


def _sources(value: Any, source: Var) -> npt.NDArray[np.float64]:
    """Return which element of a Var each element of a value depends on: `NOTHING`, `SEVERAL`, or its number."""
    known: dict[Var, npt.NDArray[np.float64]] = {source: _numbered(source.size).reshape(source.shape)}
    order = toposort([value._var]) if isinstance(value, Tracer) else ()
    for var in order:
        if var in known or not any(arg in known for arg in var.args):
            continue
        given = [known.get(arg, np.full(arg.shape, NOTHING)) for arg in var.args]
        if OPS[var.op].category in MOVING:
            leaf_values = {arg: each[..., None] for arg, each in zip(var.args, given, strict=True)}
            known[var] = Interpreter([var], var.args)(leaf_values)[0][..., 0]
        elif OPS[var.op].category == "elementwise":
            known[var] = reduce(_either, given)
        else:
            known[var] = np.full(var.shape, SEVERAL)
    return known[value._var] if order and value._var in known else np.full(shape_of(value), NOTHING)


def _either(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(b == NOTHING, a, np.where((a == NOTHING) | (a == b), b, SEVERAL))


def _numbered(size: int) -> npt.NDArray[np.float64]:
    return np.arange(size, dtype=np.float64) + 2.0


class Traced:
    """A function of a state and further values that takes derivatives in the state, called with what a step has.

    Parameters
    ----------
    function : callable
        Called with a state of Tracers, each of another Var, and the rest; returns nested arrays.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._of_numbers: tuple[list[Var], Interpreter, Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Return the function's values: of a state of Tracers Tracers, of plain arrays plain arrays."""
        if all(isinstance(value, Tracer) for value in leaves(arguments[0]).values()):
            return self._function(*arguments)
        flat = [*leaves(arguments).values()]
        given = [_as_float(value) for value in flat]
        plain = not any(isinstance(value, Tracer) for value in flat)
        if plain and self._of_numbers is not None:
            return self._interpreted([var.attrs.array for var in given])
        stand_ins = {path: Tracer(_leaf(var)) for path, var in zip(leaves(arguments), given, strict=True)}
        with intercepted():
            result = self._function(*mapped(lambda path, _: stand_ins[path], arguments))
        sources = [value._var for value in stand_ins.values()]
        roots = [build.apply("float", operand(unwrap(value))) for value in leaves(result).values()]
        if plain and all(var.args or var in sources or var.is_const for var in toposort(roots)):
            self._of_numbers = sources, Interpreter(roots, sources), result
            return self._interpreted([var.attrs.array for var in given])
        made: dict[Var, Var] = {}
        values = build.again(roots, dict(zip(sources, given, strict=True)), made)
        same_lines(made)
        paths = dict(zip(leaves(result), values, strict=True))
        return mapped(lambda path, _: Tracer(paths[path]), result)

    def _interpreted(self, numbers: list[npt.NDArray[Any]]) -> Any:
        assert self._of_numbers is not None
        sources, interpreter, nesting = self._of_numbers
        found = interpreter({var: array[..., None] for var, array in zip(sources, numbers, strict=True)})
        values = dict(zip(leaves(nesting), found, strict=True))
        return mapped(lambda path, _: values[path][..., 0], nesting)


def _as_float(value: Any) -> Var:
    return build.apply("float", operand(unwrap(value)))


def _leaf(var: Var) -> Var:
    return build.argument(next(_numbers), var.shape, Level.DRAW)
