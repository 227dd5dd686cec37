"""Jacobians: derivatives of a value with several numbers, by forward or by reverse mode, whichever costs less.

Forward mode has a tangent of the value's shape for each scalar parameter. Reverse mode has a cotangent for each number
of the value. As long as an equation works on each number by itself, elementwise or along further axes, these cotangents
are one array of the equation's shape; where such equations end, they become an axis more (`ir.vmap`). A number from
which a whole array is made, such as a price at which many options are looked at, is differentiated once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeVar

import numpy as np

from mcgrad.differentiate.modes import (
    FORWARD_LIMIT,
    cotangents_of_args,
    depending,
    gradient,
    gradient_cost,
    jvp,
    pulled_back,
    sum_of,
)
from mcgrad.differentiate.structural import zeros_like
from mcgrad.differentiate.zeros import CHOSEN, NONE, REVERSE_ZEROS, Zeros, is_guarded, keep_zeros
from mcgrad.ir.build import apply, broadcast, concatenate, const, input_, reduce, reshape
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Shape, Var, toposort
from mcgrad.ir.spaces import Space
from mcgrad.ir.vmap import vmap

T = TypeVar("T")

FEW_PARTS = 16  # of a value put together from parts, which are differentiated one by one
MOST = 1 << 24  # elements of an array with an axis for the numbers of the value, beyond which forward mode is taken


class _TooLargeError(Exception):
    """Cotangents with an axis for the numbers of a value take more memory than there may be."""


def jacobian(value: Var, wrt: Sequence[Var]) -> list[Var]:
    """Differentiate a value of any shape.

    Parameters
    ----------
    value : Var
    wrt : sequence of Var
        Inputs to differentiate in.

    Returns
    -------
    list of Var, one for each input, of shape (*value.shape, *input.shape). For a scalar it is `gradient`.

    Raises
    ------
    TypeError
        An op on the way has no derivative rule.
    """
    if value.shape == ():
        return gradient(value, wrt)
    try:
        backward = _Reverse(wrt).of(value)
    except _TooLargeError:
        return [_forward(value, var) for var in wrt]
    if sum(var.size for var in wrt) > FORWARD_LIMIT:
        return backward
    forwards = [_forward(value, var) for var in wrt]
    return forwards if gradient_cost([value, *forwards]) < gradient_cost([value, *backward]) else backward


def _forward(value: Var, source: Var) -> Var:
    """The tangents for the scalar elements of an input, along a last axis."""
    parts = []
    for i in range(source.size):
        seed = np.zeros(source.size)
        seed[i] = 1.0
        tangent = jvp(value, source, const(seed.reshape(source.shape)))
        parts.append(reshape(zeros_like(value) if tangent is None else tangent, (*value.shape, 1)))
    return reshape(concatenate(parts, len(value.shape)), (*value.shape, *source.shape))


class _Reverse:
    """Reverse mode for the numbers of a value.

    Parameters
    ----------
    wrt : sequence of Var
    """

    def __init__(self, wrt: Sequence[Var]) -> None:
        self.wrt = list(wrt)
        self._known: dict[Var, list[Var]] = {}

    def of(self, value: Var) -> list[Var]:
        """Return the derivatives of a value, of shapes (*value.shape, *input.shape)."""
        if value not in self._known:
            if value.size == 1:
                grads = gradient(reshape(value, ()), self.wrt)
                self._known[value] = [reshape(g, (*value.shape, *var.shape)) for g, var in self._pairs(grads)]
            elif value.op == "concatenate" and len(value.args) <= FEW_PARTS:
                parts = [self.of(part) for part in value.args]
                self._known[value] = [concatenate(each, value.attrs.axis) for each in zip(*parts, strict=True)]
            else:
                self._known[value] = self._by_ends(value)
        return self._known[value]

    def _by_ends(self, value: Var) -> list[Var]:
        """Add up over the Vars at which the equations on single numbers end."""
        terms: list[list[Var]] = [[] for _ in self.wrt]
        outer: dict[Var, list[Var]] = {}  # cotangents with an axis more, for the numbers of the value
        for end, (weight, zeros) in _ends(value, self.wrt).items():
            if end.op == "concatenate" and end.shape == value.shape and len(end.args) <= FEW_PARTS and end is not value:
                inner = self.of(end)
            elif end.op == "broadcast" and end.shape == value.shape and end.args[0].size < end.size:
                (arg,) = end.args
                inner = [self._repeated(x, arg.shape, value.shape) for x in self.of(arg)]
            else:
                target, cts = _with_axis(end, weight, value.shape)
                outer.setdefault(target, []).append(cts)
                continue
            guard = zeros > CHOSEN or (zeros == CHOSEN and _has_poles(end, self.wrt))
            for found, (x, var) in zip(terms, self._pairs(inner), strict=True):
                scaled = broadcast(reshape(weight, (*value.shape, *(1,) * len(var.shape))), x.shape)
                product = apply("multiply", scaled, x)
                found.append(keep_zeros(scaled, product) if guard else product)
        if outer:
            for found, x in zip(terms, self._pulled(outer, value.shape), strict=True):
                found.append(x)
        zero = const(0.0)
        return [sum_of(found) or broadcast(zero, (*value.shape, *var.shape)) for found, var in self._pairs(terms)]

    def _pulled(self, outer: dict[Var, list[Var]], shape: Shape) -> list[Var]:
        """Pull cotangents with an axis for the numbers of a value back to the inputs."""
        extent = prod(shape)
        leaves = {var: input_(f"outer {i}", var.shape, Space.COTANGENT) for i, var in enumerate(outer)}
        found = pulled_back(leaves, self.wrt, dict.fromkeys(outer, CHOSEN))
        if extent * max(var.size for var in toposort(found)) > MOST:
            raise _TooLargeError
        sums = {leaves[var]: sum_of(cts) for var, cts in outer.items()}
        mapped = vmap(found, {leaf: ct for leaf, ct in sums.items() if ct is not None}, extent)
        return [reshape(x, (*shape, *var.shape)) for x, var in zip(mapped, self.wrt, strict=True)]

    def _repeated(self, x: Var, before: Shape, after: Shape) -> Var:
        """Repeat derivatives of an array as the array is repeated by a broadcast."""
        rest = x.shape[len(before) :]
        ones = (1,) * (len(after) - len(before))
        return broadcast(reshape(x, (*ones, *before, *rest)), (*after, *rest))

    def _pairs(self, each: Sequence[T]) -> list[tuple[T, Var]]:
        return list(zip(each, self.wrt, strict=True))


def _has_poles(value: Var, wrt: Sequence[Var]) -> bool:
    """Whether a derivative may be infinite, or NaN, where the value is finite."""
    order = list(toposort([value]))
    active = depending(order, wrt)
    return any(arg in active and is_guarded(var, i, CHOSEN) for var in order for i, arg in enumerate(var.args))


def _ends(value: Var, wrt: Sequence[Var]) -> dict[Var, tuple[Var, Zeros]]:
    """Go back from a value through equations that work on each of its numbers by itself.

    Returns
    -------
    dict from Var to (Var, Zeros)
        The Vars at which they end, which begin with the value's axes: the derivative of each number of the value in the
        elements with its index, an array of the Var's shape, and how zeros in it may come about.
    """
    order = list(toposort([value]))
    active = depending(order, wrt)
    axes = len(value.shape)
    terms: dict[Var, list[Var]] = {value: [broadcast(const(1.0), value.shape)]}
    origins: dict[Var, Zeros] = {}
    found: dict[Var, tuple[Var, Zeros]] = {}
    for var in reversed(order):
        if var not in terms or var not in active:
            continue
        weight, before = sum_of(terms[var]), origins.get(var, NONE)
        assert weight is not None
        if not _is_by_number(var, value.shape, axes):
            found[var] = weight, before
            continue
        after = max(before, REVERSE_ZEROS.get(var.op, NONE))
        for arg, contribution in zip(var.args, cotangents_of_args(var, weight, before, active), strict=False):
            if contribution is not None and arg in active:
                terms.setdefault(arg, []).append(contribution)
                origins[arg] = max(after, origins.get(arg, NONE))
    return found


def _is_by_number(var: Var, shape: Shape, axes: int) -> bool:
    """Whether an equation treats each index of the first axes by itself, and its arguments have them, too."""
    if not var.args:
        return False
    category = OPS[var.op].category
    if category == "elementwise":
        return True
    if any(arg.shape[:axes] != shape for arg in var.args):
        return False
    if category == "reduction":
        return all(axis >= axes for axis in var.attrs.axes)
    return category == "scan" and var.attrs.axis >= axes


def _with_axis(end: Var, weight: Var, shape: Shape) -> tuple[Var, Var]:
    """Return a Var, and its cotangents for each number of a value, of shape (numbers, *shape of the Var).

    It is the argument of a broadcast that made the axes of the value, or else the end itself, whose cotangents are zero
    but for the elements with the number's index.
    """
    extent, axes = prod(shape), len(shape)
    if end.op == "broadcast":
        (arg,) = end.args
        own = (1,) * (len(end.shape) - len(arg.shape)) + arg.shape
        if all(n == 1 for n in own[:axes]):
            summed = [axis for axis in range(axes, len(own)) if own[axis] == 1 and end.shape[axis] != 1]
            return arg, reshape(reduce("sum", weight, summed), (extent, *arg.shape))
    if extent * end.size > MOST:
        raise _TooLargeError
    rest = end.shape[axes:]
    same = np.eye(extent, dtype=bool).reshape(extent, *shape, *(1,) * len(rest))
    full = (extent, *end.shape)
    return end, apply("where", broadcast(const(same), full), broadcast(weight, full), 0.0)
