"""Average many rows with a kernel of one problem at a time: the reference for kernels that take all at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Array, Kernel, Partial, RowPartial
from mcgrad.backends.chunks import Chunks
from mcgrad.ir.program import Level, Program
from mcgrad.ir.spaces import Input, Values
from mcgrad.moments import Moments
from mcgrad.noise.rows import Seeds, first_of_row, seed_of


class RowByRow:
    """Rows of a Program, each bound and averaged by itself.

    Parameters
    ----------
    program : Program
    kernel : Kernel
        Of this Program, for which inputs by row are inputs like any other.
    inputs : mapping from Input to array
        Those by row have the rows on the first axis.
    numbers : int array, shape (rows,)
        The numbers of the rows, which say what they draw.
    """

    def __init__(self, program: Program, kernel: Kernel, inputs: Values, numbers: npt.NDArray[np.int64]) -> None:
        self.program, self.kernel, self.inputs, self.numbers = program, kernel, inputs, numbers
        self._by_row = by_row(program)

    def chunks(self, n: int) -> Chunks:
        """Every row by itself."""
        rows = len(self.numbers)
        return Chunks(0, rows, min(1, rows), 1, 1)

    def partial(self, seed: Seeds, start: int, stop: int, rows: tuple[int, int], omit: bool) -> RowPartial:
        """Average row by row."""
        parts = [self.row(seed, start, stop, row, omit) for row in range(*rows)]
        return together(self.program, parts)

    def row(self, seed: Seeds, start: int, stop: int, row: int, omit: bool) -> Partial:
        """Average over the draws start .. stop of one row, chunk by chunk."""
        bound = self.kernel.bind({name: x[row] if name in self._by_row else x for name, x in self.inputs.items()})
        first, seed = first_of_row(int(self.numbers[row]), self.program.dtype), seed_of(seed, row)
        shift, total = None, Partial(Moments.of(np.empty((len(summed(self.program)), 0))))
        for begin, end in self.kernel.chunks(first + start, stop - start):
            if shift is None:
                shift, total = bound.shift(seed, begin, end, omit)
                continue
            total = total.merge(bound.partial(shift, seed, begin, end, omit))
        return total


def by_row(program: Program) -> frozenset[Input]:
    """Return the inputs of which each row has its own value."""
    return frozenset(v.attrs for v in program.equations() if v.op == "input" and v.level is Level.ROW)


def summed(program: Program) -> npt.NDArray[np.bool_]:
    """Return which components of the random outputs are summed over the rows."""
    random = [out for out in program.outputs if out.var.by_draw]
    return np.repeat(np.array([out.summed for out in random], bool), [out.var.size for out in random])


def together(program: Program, parts: Sequence[Partial]) -> RowPartial:
    """Return the moments of rows that were averaged one by one."""
    over_rows = summed(program)

    def stacked(columns: Sequence[Array]) -> Array:
        return np.stack(columns) if columns else np.empty((0, len(over_rows)))

    means = stacked([part.moments.mean for part in parts])
    norms = stacked([part.moments.norm for part in parts])
    stderrs = stacked([part.moments.stderr for part in parts])
    with np.errstate(all="ignore"):
        return RowPartial(
            counts=np.array([part.moments.count for part in parts], np.int64),
            means=means[:, ~over_rows],
            norms=norms[:, ~over_rows],
            nonfinite=np.array([part.nonfinite for part in parts], np.int64),
            totals=means[:, over_rows].sum(axis=0),
            variances=np.square(stderrs[:, over_rows]).sum(axis=0),
        )


def put_rows(partial: RowPartial, rows: npt.NDArray[np.intp], other: RowPartial) -> None:
    """Put the moments of some rows in their places, and add theirs to the totals."""
    for name in ("counts", "means", "norms", "nonfinite"):
        getattr(partial, name)[rows] = getattr(other, name)
    for name in ("totals", "variances"):
        np.add(getattr(partial, name), getattr(other, name), out=getattr(partial, name))
