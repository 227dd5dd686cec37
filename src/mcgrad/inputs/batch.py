"""A batch: many problems of one integrand and one family, each a row with parameters, data and draws of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError, shown
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.proposal import Proposal
from mcgrad.ir.spaces import Input, Space, Values, named, param
from mcgrad.noise import Shape
from mcgrad.noise.rows import MOST_ROWS

REDUCE = (None, "sum", "mean", "none")
OPTIONS = {Space.COTANGENT: "cotangent", Space.DIRECTION: "hvp"}  # by which such inputs are given


@dataclass(frozen=True)
class Batch:
    """The rows of an estimate.

    Parameters
    ----------
    shape : tuple of int
        Extents of the batch axes, when the Estimator was made.
    by_row : frozenset of Input
        The inputs of which each row has its own value, with the batch axes in front.
    reduce : {None, "sum", "mean", "none"}
        What becomes of values and of the gradients in shared parameters, as `Estimator` documents it.
    common_noise : bool
        Whether all rows read the same draws.
    """

    shape: Shape
    by_row: frozenset[Input]
    reduce: str | None = None
    common_noise: bool = False

    @classmethod
    def of(
        cls,
        q: Distribution,
        known: Mapping[Input, npt.NDArray[Any]],
        by_row: Iterable[Input],
        reduce: str | None,
        common_noise: bool = False,
    ) -> Self | None:
        """Return the batch of a problem; None where it is a single one.

        Parameters
        ----------
        q : Distribution
        known : dict of Input to array
            Parameters and data besides the parameters of q.
        by_row : iterable of Input
            Those of them that have batch axes.
        reduce : str or None
        common_noise : bool

        Raises
        ------
        ParameterError
            Batch axes of different extents, too few axes, or too many rows.
        """
        by_row = tuple(by_row)
        if q.batch is None and not by_row:
            for name, given in (("reduce", reduce), ("common_noise", common_noise or None)):
                if given is None:
                    continue
                accepted = "None, or a batch: batch_ndim= of q, batched_params= or batched_data="
                raise ParameterError(name, f"{shown(given)} without a batch", accepted)
            return None
        of_q = [] if q.batch is None else [param(path) for path in q.flat_params if path in q.batch.by_row]
        arrays = {**named(q.flat_params), **known}
        ndim = q.batch.ndim if q.batch else 1
        shape = common_shape({name: arrays[name] for name in (*of_q, *by_row)}, ndim)
        if common_noise and not math.prod(shape):
            raise ParameterError("common_noise", "True of a batch without rows", "at least one row")
        return cls(shape, frozenset([*of_q, *by_row]), reduce, common_noise)

    def __str__(self) -> str:
        names = ", ".join(sorted(map(str, self.by_row)))
        noise = ", common noise" * self.common_noise
        return f"{self.size:,} rows of shape {self.shape}, by row {names}, reduce={self.reduce!r}{noise}"

    @property
    def ndim(self) -> int:
        """Number of the batch axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of rows."""
        return math.prod(self.shape)

    def sums(self, name: Input) -> bool:
        """Whether the gradient in a parameter is summed over the rows: where they share it."""
        return name not in self.by_row and self.reduce != "none"

    def with_inputs(self, names: Iterable[Input]) -> Self:
        """Return the batch with further inputs by row."""
        return replace(self, by_row=self.by_row.union(names))

    def shape_of(self, values: Values) -> Shape:
        """Return the batch shape of the inputs of a call, which have the batch axes."""
        arrays, ndim = [values[name] for name in values if name in self.by_row], self.ndim
        shapes: set[Shape] = {x.shape[:ndim] for x in arrays}
        shape = shapes.pop() if len(shapes) == 1 else ()
        if len(shape) == ndim and math.prod(shape) <= MOST_ROWS:
            return shape
        return common_shape({name: values[name] for name in values if name in self.by_row}, ndim)

    def rows(self, values: Values) -> Values:
        """Return the inputs with one axis of rows in place of the batch axes."""
        if self.ndim == 1:
            return values
        return {name: self._flat(x) if name in self.by_row else x for name, x in values.items()}

    def shape_of_input(self, name: Input, shape: Shape) -> Shape:
        """Return the shape that `rows` gives an input."""
        return (math.prod(shape[: self.ndim]), *shape[self.ndim :]) if name in self.by_row else shape

    def first(self, known: Mapping[Input, Any]) -> dict[Input, Any]:
        """Return the inputs of the first row; of a batch without rows, ones."""
        return {name: self._first(x) if name in self.by_row else x for name, x in known.items()}

    def _flat(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return x.reshape(math.prod(x.shape[: self.ndim]), *x.shape[self.ndim :])

    def _first(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return self._flat(x)[0] if self.size else np.ones(x.shape[self.ndim :], x.dtype)


def of_first_row(f: Any, q: Distribution) -> tuple[Any, Distribution]:
    """Return an integrand and its distribution with the parameters of the first row, which are traced for all."""
    if isinstance(f, Objective):
        f = f.of_first_row()
        return f, f.q
    return f, q.template


def common_shape(arrays: Mapping[Input, npt.NDArray[Any]], ndim: int) -> Shape:
    """Return the batch shape that arrays have in common; refuse the first that has another."""
    first: Input | None = None
    shape: Shape = ()
    for name, x in arrays.items():
        if x.ndim < ndim:
            axes = f"{ndim} batch axes" if ndim > 1 else "a batch axis"
            raise ParameterError(_argument(name), f"shape {x.shape}", f"an array with {axes} in front")
        if first is None:
            first, shape = name, x.shape[:ndim]
        elif x.shape[:ndim] != shape:
            given = f"shape {x.shape}, whose batch shape is {x.shape[:ndim]}"
            raise ParameterError(_argument(name), given, f"batch shape {shape}, as {_argument(first)} has")
    if math.prod(shape) > MOST_ROWS:
        raise ParameterError(first.path if first else "q", f"{math.prod(shape):,} rows", f"at most {MOST_ROWS:,}")
    return shape


def _argument(name: Input) -> str:
    """Return the name of an input in messages."""
    return ".".join(filter(None, (OPTIONS.get(name.space), name.path)))


def rows_of(
    params: Any,
    data: Any,
    given: Iterable[str],
    given_data: Iterable[str],
    f: Any,
    proposal: Proposal | None = None,
) -> list[Input]:
    """Return the inputs besides the parameters of q that have batch axes.

    Parameters
    ----------
    params, data : nested dict and dict, or None
        As the user gave them.
    given, given_data : iterable of str
        ``batched_params`` and ``batched_data``.
    f : callable, Integrand or Objective
    proposal : Proposal, optional

    Raises
    ------
    ParameterError
        A name of no parameter, or of no data.
    """
    found = [
        *(param(path) for path in _selected("batched_params", given, params)),
        *(Input(Space.DATA, name) for name in _selected("batched_data", given_data, data)),
    ]
    return [*found, *(f.by_row if isinstance(f, Objective) else ()), *(proposal.by_row if proposal else ())]


def spread(rows: int, most: int) -> list[int]:
    """Return the places of some rows: all, or the first, the last, and others at equal distances between."""
    if rows <= most:
        return list(range(rows))
    return [i * (rows - 1) // max(most - 1, 1) for i in range(most)]


def row_numbers(given: Any, shape: Shape, summed: bool = True) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows of a call, which say what they draw.

    Parameters
    ----------
    given : array_like of int, or None
        Of the batch shape; by default 0, 1, 2 ... in C order.
    shape : tuple of int
        The batch shape.
    summed : bool
        Whether something is summed over the rows, whose draws have to differ then, for its standard error.

    Raises
    ------
    ParameterError
        Not whole numbers of this shape, too large, or with sums one of them twice.
    """
    size = math.prod(shape)
    if given is None:
        return np.arange(size)
    accepted = f"whole numbers from 0 to {MOST_ROWS - 1:,} of shape {shape}{', no two of them equal' if summed else ''}"
    try:
        numbers = np.asarray(given, np.int64 if size == 0 else None)
    except Exception:  # NumPy raises exceptions of many types
        raise ParameterError("rows", shown(given), accepted) from None
    if numbers.dtype.kind not in "iu" or numbers.shape != shape:
        raise ParameterError("rows", shown(numbers if numbers.shape else given), accepted)
    numbers = numbers.reshape(size)
    if size and not 0 <= int(numbers.min()) <= int(numbers.max()) < MOST_ROWS:
        raise ParameterError("rows", f"numbers from {numbers.min():,} to {numbers.max():,}", accepted)
    if summed and len(np.unique(numbers)) < size:
        given = "a number twice, whose rows would have the same draws"
        raise ParameterError("rows", given, f"{accepted}, but with reduce='none'")
    return numbers.astype(np.int64)


def _selected(option: str, names: Iterable[str], known: Any) -> tuple[str, ...]:
    """Return the paths that names select in a nested dict; what is no dict is refused elsewhere."""
    names = tuple(names)
    paths = tree.flatten(known) if names and isinstance(known, Mapping) and known else {}
    return tree.select(paths, names, option)
