"""Expectations under `torch.vmap`: the rows of one batch, each with the draws of its own seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.engine.rows_of_seeds import rows_of_seeds
from mcgrad.errors import ParameterError, TraceError
from mcgrad.inputs.objectives import Objective
from mcgrad.noise import Shape
from mcgrad.torch.operator import Call, Outputs
from mcgrad.torch.problems import Flat, Problem, problem
from mcgrad.torch.rows import DATA, PARAMS, Q, Rows, split


class ProblemOfRows(Problem):
    """Many problems that differ in the values of some tensors, and in their seeds.

    Parameters
    ----------
    one : Problem
        Without rows.
    flags : tuple of bool
        Which tensors have rows, on their first axis.
    """

    def __init__(self, one: Problem, flags: tuple[bool, ...]) -> None:
        known = tuple(leaf._replace(by_row=flag) for leaf, flag in zip(one.known, flags, strict=True))
        names = {of: [leaf.path for leaf in known if leaf.by_row and leaf.argument == of] for of in (PARAMS, DATA)}
        options = {"batched_params": names[PARAMS], "batched_data": names[DATA], "reduce": "none"}
        super().__init__(one.f, one.q, known, one.static, {**one.options, **options})
        self.one, self.flags, self.takes_seeds = one, flags, True
        self._batches = isinstance(self.q, type) and not isinstance(self.f, Objective)

    def estimate(
        self, arrays: list[Any], n: int, seed: Any, stream: Any, errors: bool, shape: Shape, cotangent: Any = None
    ) -> Flat:
        """Estimate the rows, of which `seed` has one each: one after the other where f and q make no batch.

        So it is where an integer that differs by row is an index, which is part of the compiled code.
        """
        if self._batches:
            try:
                estimator, changes = self.prepared(self._of_batch(arrays, shape[0]))
            except (ParameterError, TraceError, TypeError):
                found = self._one_by_one(arrays, n, seed, stream, errors, shape)  # raises what is wrong with a row
                self._batches = False
                return found
            moments, nonfinite = rows_of_seeds(estimator, n, seed, changes, stream)
            slices, size = estimator.derived.components.slices, estimator.derived.components.values.stop
            value, grad = self._columns(moments.estimate, slices, size, shape)
            if not errors:
                return value, grad, grad, grad
            stderr = np.concatenate([x.ravel() for x in self._columns(moments.stderr, slices, size, shape)])
            return value, grad, stderr, nonfinite
        return self._one_by_one(arrays, n, seed, stream, errors, shape)

    def _of_batch(self, arrays: list[Any], rows: int) -> list[Any]:
        """Return the tensors with rows in all parameters of q, as those of a family say by their axes what has rows."""
        shared = [leaf.argument == Q and not leaf.by_row for leaf in self.known]
        return [_repeated(x, rows) if wanted else x for x, wanted in zip(arrays, shared, strict=True)]

    def _columns(self, table: Any, slices: dict[str, slice], size: int, shape: Shape) -> tuple[Any, Any]:
        grads = [table[:, slices[path]].ravel() for path in self.wrt]
        return table[:, :size].reshape(shape), np.concatenate(grads) if grads else np.empty(0)

    def _one_by_one(self, arrays: list[Any], n: int, seed: Any, stream: Any, errors: bool, shape: Shape) -> Flat:
        found = []
        for row, own in enumerate(seed.tolist()):
            values = [x[row] if flag else x for x, flag in zip(arrays, self.flags, strict=True)]
            found.append(self.one.estimate(values, n, own, stream, errors, shape[1:]))
        if not found:
            return np.empty(shape), np.empty(0), np.empty(0), np.empty(0, np.int64)
        value, grad, stderr, nonfinite = (np.stack(each) for each in zip(*found, strict=True))
        size = math.prod(shape[1:])
        ends = np.cumsum([size * math.prod(leaf.shape) for leaf in self.known if leaf.differentiable])[:-1]

        def by_parameter(table: Any) -> list[Any]:
            return [part.ravel() for part in np.split(table, ends, axis=1)]

        if not errors:
            flat = np.concatenate(by_parameter(grad))
            return value, flat, flat, flat
        together = np.concatenate([stderr[:, :size].ravel(), *by_parameter(stderr[:, size:])])
        return value, np.concatenate(by_parameter(grad)), together, nonfinite

    def _distribution(self, values: dict[str, Any]) -> Distribution:
        assert isinstance(self.q, type), "a family"
        given = {**values, **dict(self.static), **({"batch_ndim": 1} if values else {})}
        found: Distribution = self.q(**(tree.unflatten(given) if given else {}))
        return found


def _repeated(x: Any, rows: int) -> Any:
    if isinstance(x, torch.Tensor):
        return x.expand(rows, *x.shape).contiguous()
    return np.broadcast_to(x, (rows, *x.shape))


def estimate_rows(
    apply: Callable[..., Outputs], size: int, axes: Sequence[int | None], call: Call, seed: torch.Tensor, *tensors: Any
) -> Outputs | None:
    """Return the outputs of a call for each row of an axis of `torch.vmap`, or None where they are no rows of a batch.

    Parameters
    ----------
    apply : callable
        (call, seed, *tensors) -> outputs, which autograd records.
    size : int
        How many rows there are.
    axes : sequence of (int or None)
        Of the call, the seed and the tensors: where the rows are.
    call, seed, *tensors
        As for the operator. A call that has rows already gets those of both axes as rows.
    """
    solved = problem(call.problem)
    within: tuple[int, ...] = ()
    one, flags = solved, (False,) * len(tensors)
    if isinstance(solved, ProblemOfRows):
        within, one, flags = call.rows.batch, solved.one, solved.flags
    elif call.rows.batch or any(leaf.by_row for leaf in solved.known):
        return None
    _, axis, *axes = axes
    found = tuple(flag or axis is not None for flag, axis in zip(flags, axes, strict=True))
    rows = size * math.prod(within)
    values = [
        _merged(x, axis, flag, size, within) if has else x
        for x, axis, flag, has in zip(tensors, axes, flags, found, strict=True)
    ]
    by_row = [flag for flag, wanted in zip(found, call.differentiable, strict=True) if wanted]
    several = replace(
        call, problem=_of_rows(one, found).number, rows=Rows((rows,), call.rows.shape, by_row, None), value=call.value
    )
    value, grad, stderr, nonfinite = apply(several, _merged(seed, axis, bool(within), size, within), *values)
    shapes = several.rows.shapes([(x.shape, x.dtype) for x in several.chosen(values)])

    def by_outer_row(flat: torch.Tensor, shapes: list[Any]) -> torch.Tensor:
        parts = [part.reshape(size, -1) for part in split(flat, shapes)] if shapes else []
        return torch.cat(parts, 1) if parts else flat.new_empty(size, 0)

    if call.errors:
        stderr, nonfinite = by_outer_row(stderr, [value.shape, *shapes]), nonfinite.reshape(size, *within)
    else:
        stderr, nonfinite = stderr.new_empty(size, 0), nonfinite.new_empty(size, 0)
    return value.reshape(size, *call.rows.value), by_outer_row(grad, shapes), stderr, nonfinite


def _merged(x: torch.Tensor, axis: int | None, has_rows: bool, size: int, within: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor with one axis of rows in place of an outer and, if there is one, an inner axis."""
    x = x.expand(size, *x.shape) if axis is None else x.movedim(axis, 0)
    if not within:
        return x
    if not has_rows:
        x = x.unsqueeze(1).expand(size, *within, *x.shape[1:])
    return x.reshape(size * within[0], *x.shape[2:])


def _of_rows(one: Problem, flags: tuple[bool, ...]) -> ProblemOfRows:
    found: ProblemOfRows | None = one.of_rows.get(flags)
    if found is None:
        found = one.of_rows.setdefault(flags, ProblemOfRows(one, flags))
    return found
