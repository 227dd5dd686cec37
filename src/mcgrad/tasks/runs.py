"""What the tasks of a run share, and how one of them is worked out: over chunks of draws, or over ranges of rows."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import (
    AveragesRows,
    Bound,
    BoundRows,
    Kernel,
    Partial,
    Shift,
    limits_of_rows,
    load_rows,
    loaded,
)
from mcgrad.backends.chunks import Chunk
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Values
from mcgrad.noise.rows import Seeds
from mcgrad.tasks.content import from_bytes
from mcgrad.tasks.fold import pieces
from mcgrad.tasks.kernels import Held
from mcgrad.tasks.task import Pieces, RowPiece, Task

Average: TypeAlias = Callable[[], Pieces]


class Run(Protocol):
    """What the tasks of a run share."""

    def ready(self, held: Held, task: Task) -> Average:
        """Return what works out a task, with all that has to be compiled."""


@dataclass(frozen=True, slots=True)
class RunOfDraws:
    """A run over chunks of draws, after the first.

    Parameters
    ----------
    seed, first, n : int
        Of the whole run, in draws of the Program.
    shift : array
    values : bytes
        Of the inputs that the payload does not have.
    """

    seed: int
    first: int
    n: int
    shift: Shift
    values: bytes

    def ready(self, held: Held, task: Task) -> Average:
        """Return what averages over the chunks of a task."""
        kernel = loaded(held.kernel[1], self.n)
        bound = held.bound.get((self.n, self.values), lambda: self._bound(held, kernel))

        def partial(chunk: Chunk) -> Partial:
            return cast(Bound, bound).partial(self.shift, self.seed, *chunk, held.content.omit)

        def average() -> Pieces:
            with kernel.limits():
                return tuple(pieces(kernel.chunks(self.first, self.n), task.start, task.stop, partial))

        return average

    def _bound(self, held: Held, kernel: Kernel) -> Bound:
        with kernel.limits():
            return kernel.bind({**held.values, **from_bytes(self.values)})


@dataclass(frozen=True, slots=True)
class TaskRows:
    """What the rows of a task have for themselves.

    Parameters
    ----------
    ranges : tuple of (int, int)
        That they are averaged in, counted from the first row of the task.
    numbers : int array, shape (rows,)
    seeds : uint64 array, shape (rows,), or None
        Where each row has its own.
    values : bytes
        Of the inputs by row.
    """

    ranges: tuple[tuple[int, int], ...]
    numbers: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.uint64] | None
    values: bytes


@dataclass(frozen=True, slots=True)
class RunOfRows:
    """A run over ranges of rows.

    Parameters
    ----------
    seed : int
        Of all rows, unless each has its own.
    start, stop : int
        The draws of each row, in draws of the Program.
    values : bytes
        Of the inputs that the payload does not have, and all rows share.
    """

    seed: int
    start: int
    stop: int
    values: bytes

    def ready(self, held: Held, task: Task) -> Average:
        """Return what averages over the ranges of rows of a task."""
        program, kernel = held.kernel
        load_rows(kernel, self.start, self.stop)
        own: TaskRows = pickle.loads(task.rows)
        values = {**held.values, **from_bytes(self.values), **from_bytes(own.values)}
        seeds: Seeds = self.seed if own.seeds is None else own.seeds

        def average() -> Pieces:
            with limits_of_rows(kernel, self.start, self.stop):
                bound, omit = bound_rows(program, kernel, values, own.numbers), held.content.omit
                return tuple(
                    RowPiece(
                        (task.start + rows[0], task.start + rows[1]),
                        bound.partial(seeds, self.start, self.stop, rows, omit),
                    )
                    for rows in own.ranges
                )

        return average


def bound_rows(program: Program, kernel: Kernel, values: Values, numbers: npt.NDArray[np.int64]) -> BoundRows:
    """Return a kernel bound to values of many rows: all at once where it can, else row by row."""
    if hasattr(kernel, "bind_rows"):  # isinstance of a protocol takes as long as a third of all else here
        return cast(AveragesRows, kernel).bind_rows(values, numbers)
    return RowByRow(program, kernel, values, numbers)
