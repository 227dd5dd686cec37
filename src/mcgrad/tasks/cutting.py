"""Cut runs into tasks: over chunks of draws, whose ends are those of spans where possible, or over ranges of rows."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt

from mcgrad.backends.chunks import Chunk, Chunks, after, left
from mcgrad.ir.spaces import Values
from mcgrad.noise.rows import Seeds, seeds_of
from mcgrad.tasks.content import PLAIN, to_bytes
from mcgrad.tasks.runs import TaskRows
from mcgrad.tasks.task import Task


class TasksOfDraws:
    """Makes the tasks of a run over chunks of draws, one after the other.

    Parameters
    ----------
    digest : str
        Of the payload.
    run : bytes
        What tasks carry of the run.
    chunks : iterable of (int, int)
        Of the whole run.
    start : int
        Where a chunk ends, from which on draws are left.
    """

    def __init__(self, digest: str, run: bytes, chunks: Iterable[Chunk], start: int) -> None:
        self._digest, self._run, self._chunks, self._at = digest, run, chunks, start
        self._listed = iter(()) if isinstance(chunks, Chunks) else after(chunks, start)

    def __call__(self, count: int) -> Task | None:
        """Return the task of about the next `count` chunks, or of those that are left; None where none is.

        It ends with a span, so that the worker merges all that it works out, where spans are not much longer.
        """
        start, before = self._at, self.left()
        if isinstance(self._chunks, Chunks):  # there may be billions
            self._at = self._chunks.reach(start, count) if start < self._chunks.stop else start
            chunks = before - self.left()
        else:
            ends = [end for _, end in islice(self._listed, count)]
            self._at, chunks = ends[-1] if ends else start, len(ends)
        return Task(self._digest, start, self._at, max(chunks, 1), self._run) if self._at > start else None

    def left(self) -> int:
        """Return how many chunks are left."""
        return left(self._chunks, self._at)


class TasksOfRows:
    """Makes the tasks of a run over ranges of rows, one after the other: each carries its rows' own inputs.

    Parameters
    ----------
    digest : str
        Of the payload.
    run : bytes
        What tasks carry of the run.
    ranges : iterable of (int, int)
        Of all rows.
    start : int
        The first row that is left.
    values : mapping from Input to array
        Of the inputs by row, with the rows on the first axis.
    numbers : int array, shape (rows,)
    seeds : int, or uint64 array of shape (rows,)
    """

    def __init__(
        self,
        digest: str,
        run: bytes,
        ranges: Iterable[Chunk],
        start: int,
        values: Values,
        numbers: npt.NDArray[np.int64],
        seeds: Seeds,
    ) -> None:
        self._digest, self._run, self._ranges, self._at = digest, run, ranges, start
        self._left = after(ranges, start)
        self._values, self._numbers, self._seeds = values, numbers, seeds

    def __call__(self, count: int) -> Task | None:
        """Return the task of the next `count` ranges, or of those that are left; None where none is."""
        ranges = list(islice(self._left, count))
        if not ranges:
            return None
        start, stop = ranges[0][0], ranges[-1][1]
        rows, self._at = slice(start, stop), stop
        seeds = seeds_of(self._seeds, rows)
        own = TaskRows(
            tuple((begin - start, end - start) for begin, end in ranges),
            self._numbers[rows],
            None if isinstance(seeds, int) else seeds,
            to_bytes(self._of(rows)),
        )
        return Task(self._digest, start, stop, len(ranges), self._run, pickle.dumps(own, PLAIN))

    def left(self) -> int:
        """Return how many ranges are left."""
        return left(self._ranges, self._at)

    def _of(self, rows: slice) -> Values:
        return {name: x[rows] for name, x in self._values.items()}
