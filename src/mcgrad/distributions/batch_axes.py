"""Batch axes of parameters: one distribution with the parameters of many problems, each of which is a row of the batch.

`Distribution` checks all rows here, and takes the parameters of one row, with which it is traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Self

import numpy as np

from mcgrad.distributions.constraints import FloatArray
from mcgrad.errors import ParameterError
from mcgrad.noise import Shape
from mcgrad.reals import MOST_AXES, count

Check = Callable[[dict[str, FloatArray]], None]  # of the parameters of one row; raises

MOST_TRIALS = 4096  # of parameters for a batch without rows


def batch_ndim(value: Any) -> int:
    """Return a number of batch axes."""
    return count("batch_ndim", value, 0, MOST_AXES)


@dataclass(frozen=True)
class BatchAxes:
    """The axes in front of parameters that count the rows of a batch.

    Parameters
    ----------
    shape : tuple of int
        Their extents.
    by_row : frozenset of str
        The parameters that have them, by dotted path; all rows share the others.
    """

    shape: Shape
    by_row: frozenset[str]

    @classmethod
    def of(cls, flat: Mapping[str, Any], ndim: int, by_row: Iterable[str] | None = None) -> Self:
        """Return the batch axes of arrays by path.

        Parameters
        ----------
        flat : dict of str to array
        ndim : int
            How many there are, at least 1.
        by_row : iterable of str, optional
            Which arrays have them; by default those with as many axes.

        Raises
        ------
        ParameterError
            Names the first array whose batch axes have other extents, or all where none has batch axes.
        """
        paths = (
            [path for path, x in flat.items() if x.ndim >= ndim] if by_row is None else [p for p in flat if p in by_row]
        )
        if not paths:
            given = "no parameter with batch axes" if by_row is None else "no parameters"
            axes = f"{ndim} batch axes in front" if ndim > 1 else "a batch axis in front"
            raise ParameterError(
                ", ".join(flat) or "batch_ndim", given, f"at least one array with {axes}, or batch_ndim=0"
            )
        shape = flat[paths[0]].shape[:ndim]
        for path in paths:
            extents = flat[path].shape[:ndim]
            if extents != shape or flat[path].ndim < ndim:
                given = f"shape {flat[path].shape}, whose batch shape is {extents}"
                raise ParameterError(path, given, f"batch shape {shape}, as {paths[0]} has")
        return cls(shape, frozenset(paths))

    def check_shapes(self, flat: Mapping[str, FloatArray]) -> None:
        """Refuse arrays by path with different numbers of rows, which may be other than at first."""
        ndim = self.ndim
        if len({flat[path].shape[:ndim] for path in self.by_row}) > 1:
            BatchAxes.of(flat, ndim, self.by_row)

    @property
    def ndim(self) -> int:
        """Number of the axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of rows."""
        return math.prod(self.shape)

    def row_shape(self, path: str, shape: Shape) -> Shape:
        """Return the shape of one row's parameter, of the shape of all rows'."""
        return shape[self.ndim :] if path in self.by_row else shape

    def rows(self, array: FloatArray) -> FloatArray:
        """Return an array that has the batch axes with one axis in their place."""
        return array.reshape(math.prod(array.shape[: self.ndim]), *array.shape[self.ndim :])

    def row(self, flat: Mapping[str, FloatArray], row: int) -> dict[str, FloatArray]:
        """Return the parameters of one row, counted in C order."""
        return {path: self.rows(x)[row] if path in self.by_row else x for path, x in flat.items()}

    def rows_last(self, flat: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Return all parameters with the rows on the last axis, so that those of a row broadcast as they do alone."""
        return {
            path: np.moveaxis(self.rows(x), 0, -1) if path in self.by_row else x[..., None] for path, x in flat.items()
        }

    def name(self, row: int) -> str:
        """Return how a row is named in a message."""
        place = [int(i) for i in np.unravel_index(row, self.shape)]
        return f"row {place[0] if self.ndim == 1 else place}"

    def check(
        self, check: Callable[[dict[str, FloatArray]], None], flat: dict[str, FloatArray], together: bool
    ) -> None:
        """Have the parameters of each row checked; an error names the row.

        Parameters
        ----------
        check : callable
            Takes the parameters of one row.
        flat : dict of str to array
            Of all rows.
        together : bool
            Whether `check` works element by element, so that it may take all rows at once, on a last axis.
        """
        now = BatchAxes.of(flat, self.ndim, self.by_row)  # of as many rows as these have
        if together and now.size:
            try:
                check(self.rows_last(flat))
            except ParameterError:
                pass  # of a row that is found below
            else:
                return
        for row in range(now.size):
            try:
                check(self.row(flat, row))
            except ParameterError as error:
                raise ParameterError(error.parameter, f"{error.given} in {now.name(row)}", error.accepted) from None

    def first(self, flat: Mapping[str, FloatArray], known: Mapping[str, FloatArray]) -> Iterator[dict[str, FloatArray]]:
        """Yield the parameters of the first row; of a batch without rows parameters to try, until some are accepted.

        Parameters
        ----------
        flat : dict of str to array
            Of all rows.
        known : dict of str to array
            Parameters that need not be tried.
        """
        if self.size:
            yield {path: np.array(x) if isinstance(x, np.ndarray) else x for path, x in self.row(flat, 0).items()}
            return
        paths = [path for path in flat if path in self.by_row and path not in known]
        values = [[*_values(self.row_shape(path, flat[path].shape), flat[path].dtype)] for path in paths]
        for chosen in islice(product(*values), MOST_TRIALS):
            yield {**flat, **known, **dict(zip(paths, chosen, strict=True))}


def _values(shape: Shape, dtype: Any) -> Iterator[FloatArray]:
    """Yield arrays that common constraints accept: positive ones, probabilities, factors, ends of intervals."""
    if len(shape) >= 2 and shape[-1] == shape[-2]:
        yield np.broadcast_to(np.eye(shape[-1], dtype=dtype), shape).copy()
    for value in (0.5, 1.0, 0.0, 2.0):
        yield np.full(shape, value, dtype)
