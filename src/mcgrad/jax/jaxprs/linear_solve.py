"""`lax.custom_linear_solve`: the solution for the matrix of a linear map, by one op with derivatives of any order.

The map is a jaxpr, and so is the way in which JAX would solve, with constants whose derivatives it has stopped. Where
the map is a product with a matrix, as in `jnp.linalg.solve`, that matrix is taken; else the matrix is what the map
makes of the unit vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from mcgrad.trace.refuse import refusal

Evaluate = Callable[..., list[Any]]
CALLS = ("jit", "pjit", "closed_call", "core_call")
MOST = 128  # unknowns of a map that is no product with a matrix
Label = tuple[str, int] | None  # an axis of the unknowns ("x"), or of the matrix ("a"); None of extent 1


def linear_solve(evaluate: Evaluate, equation: core.JaxprEqn, args: list[Any]) -> list[Any]:
    """Return what the map of `lax.custom_linear_solve` takes to the right side.

    Raises
    ------
    TraceError
        A map of more unknowns than `MOST` that is no product with a matrix.
    """
    lengths, matvec = equation.params["const_lengths"], equation.params["jaxprs"].matvec
    known, right = args[: lengths.matvec], args[sum(lengths) :]
    if len(right) == 1:
        product = _Product(evaluate)
        if product.is_whole(matvec, known):
            return [product.solved(right[0])]
    return _by_unit_vectors(evaluate, matvec, known, right)


class _Product:
    """A linear map of one array that is a product with a matrix, if it is one, found by following its axes.

    Attributes
    ----------
    matrix : array or None
        One operand of the product; the unknowns are the other.
    along : list of pairs of axes
        Of the unknowns and of the matrix, which one product each is for.
    summed : list of pairs of axes
        Of the unknowns and of the matrix, over which it sums.
    rows : list of pairs of axes
        Of the result and of the matrix.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self.matrix: Any = None
        self.along: list[tuple[int, int]] = []
        self.summed: list[tuple[int, int]] = []
        self.rows: list[tuple[int, int]] = []

    def is_whole(self, map_: core.ClosedJaxpr, known: Sequence[Any]) -> bool:
        """Follow the axes of the unknowns; whether the map is a product, and its result has the axes where they were.

        Parameters
        ----------
        map_ : ClosedJaxpr
        known : sequence of Tracer or array
            Its arguments but for the unknowns.
        """
        shape = map_.jaxpr.invars[-1].aval.shape
        found = self._followed(map_, [*known, None], [("x", i) for i in range(len(shape))])
        if found is None or self.matrix is None:
            return False
        self.rows = [(i, label[1]) for i, label in enumerate(found) if label and label[0] == "a"]
        kept = all(label[1] == i for i, label in enumerate(found) if label and label[0] == "x")
        return kept and None not in found and sorted(i for i, _ in self.rows) == sorted(i for i, _ in self.summed)

    def solved(self, right: Any) -> Any:
        """Return the unknowns for a right side."""
        along, summed, rows = (sorted(pairs) for pairs in (self.along, self.summed, self.rows))
        front, inner = [i for i, _ in along], [i for i, _ in summed]
        order = [*front, *inner, *(i for i in range(right.ndim) if i not in (*front, *inner))]
        moved = np.transpose(right, order)
        ahead, n = moved.shape[: len(front)], math.prod(moved.shape[len(front) : len(front) + len(inner)])
        matrix = np.transpose(self.matrix, [axis for pairs in (along, rows, summed) for _, axis in pairs])
        columns = np.reshape(moved, (*ahead, n, right.size // max(n * math.prod(ahead), 1)))
        found = np.linalg.solve(np.reshape(matrix, (*ahead, n, n)), columns)
        return np.transpose(np.reshape(found, moved.shape), np.argsort(order))

    def _followed(self, map_: Any, values: Sequence[Any], labels: list[Label]) -> list[Label] | None:
        """Return what the axes of the result of a jaxpr are, whose last argument are the unknowns."""
        closed = map_ if isinstance(map_, core.ClosedJaxpr) else core.ClosedJaxpr(map_, ())
        jaxpr = closed.jaxpr
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *values], strict=True))
        axes: dict[Any, list[Label]] = {jaxpr.invars[-1]: labels}
        for eqn in jaxpr.eqns:
            given = [None if isinstance(atom, core.Literal) else axes.get(atom) for atom in eqn.invars]
            if not any(each is not None for each in given):
                vars_ = list(dict.fromkeys(atom for atom in eqn.invars if not isinstance(atom, core.Literal)))
                cut = jaxpr.replace(constvars=[], invars=vars_, outvars=list(eqn.outvars), eqns=[eqn])
                known |= zip(eqn.outvars, self._evaluate(cut, (), [known[var] for var in vars_]), strict=True)
                continue
            found = self._after(eqn, given, [None if axes.get(a) is not None else _value(a, known) for a in eqn.invars])
            if found is None:
                return None
            axes[eqn.outvars[0]] = found
        (result,) = jaxpr.outvars
        return None if isinstance(result, core.Literal) else axes.get(result)

    def _after(self, eqn: core.JaxprEqn, given: list[Any], values: list[Any]) -> list[Label] | None:
        """Return what the axes of a result are, or None of an equation that does more than move axes, or multiply."""
        name, params = eqn.primitive.name, eqn.params
        if name == "dot_general" and self.matrix is None and given.count(None) == 1:
            return self._multiplied(params["dimension_numbers"], given, values)
        if name in CALLS and len(eqn.outvars) == 1 and given[-1] is not None and not any(given[:-1]):
            return self._followed(params["jaxpr"], values, given[-1])
        if len(given) != 1:
            return None
        (labels,) = given
        if name == "transpose":
            return [labels[i] for i in params["permutation"]]
        if name in ("copy", "convert_element_type") or (name == "reduce_sum" and not params["axes"]):
            return list(labels)
        if name == "squeeze" and all(labels[i] is None for i in params["dimensions"]):
            return [label for i, label in enumerate(labels) if i not in params["dimensions"]]
        if name == "broadcast_in_dim" and math.prod(params["shape"]) == math.prod(eqn.invars[0].aval.shape):
            kept = dict(zip(params["broadcast_dimensions"], labels, strict=True))
            return [kept.get(i) for i in range(len(params["shape"]))]
        return None

    def _multiplied(self, numbers: Any, given: list[Any], values: list[Any]) -> list[Label] | None:
        (summed, along) = numbers
        place = 0 if given[0] is not None else 1
        labels, other = given[place], 1 - place
        self.matrix = values[other]
        for pairs, axes in ((self.summed, summed), (self.along, along)):
            for i, j in zip(axes[place], axes[other], strict=True):
                if labels[i] is None or labels[i][0] != "x":
                    return None
                pairs.append((labels[i][1], j))
        own = [label for i, label in enumerate(labels) if i not in (*summed[place], *along[place])]
        new: list[Label] = [("a", j) for j in range(self.matrix.ndim) if j not in (*summed[other], *along[other])]
        return [*(labels[i] for i in along[place]), *(own + new if place == 0 else new + own)]


def _value(atom: Any, known: dict[Any, Any]) -> Any:
    return np.asarray(atom.val) if isinstance(atom, core.Literal) else known[atom]


def _by_unit_vectors(
    evaluate: Evaluate, matvec: core.ClosedJaxpr, known: Sequence[Any], right: Sequence[Any]
) -> list[Any]:
    """Solve for the matrix whose columns are what the map makes of unit vectors."""
    sizes = [math.prod(x.shape) for x in right]
    n, ends = sum(sizes), np.cumsum([0, *sizes])
    if n > MOST:
        remedy = f"accepted are products with a matrix, and other maps of up to {MOST} unknowns"
        raise refusal(f"lax.custom_linear_solve for a map of {n} unknowns", remedy)
    unit = np.eye(n)
    units = [np.reshape(unit[:, a:b], (n, *x.shape)) for a, b, x in zip(ends, ends[1:], right, strict=False)]
    axes = [*(None for _ in known), *(0 for _ in units)]
    shapes = [jax.ShapeDtypeStruct(np.shape(x), var.aval.dtype)
              for x, var in zip([*known, *units], matvec.jaxpr.invars, strict=True)]  # fmt: skip
    closed = jax.make_jaxpr(jax.vmap(core.jaxpr_as_fun(matvec), axes))(*shapes)
    columns = evaluate(closed.jaxpr, closed.consts, [*known, *units])
    matrix = np.concatenate([np.reshape(x, (n, size)) for x, size in zip(columns, sizes, strict=True)], 1).T
    found = np.linalg.solve(matrix, np.concatenate([np.reshape(x, (x.size,)) for x in right]))
    return [np.reshape(found[a:b], x.shape) for a, b, x in zip(ends, ends[1:], right, strict=False)]
