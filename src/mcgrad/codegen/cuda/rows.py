"""The common part of kernels that average many rows of a batch: how they are launched, and what a launch is cut into.

The draws of each row are cut into *parts*, which threads (`row_registers`) or blocks of threads (`row_blocks`) take one
by one. What a part is depends on the Program and the range of draws alone, and its partial on its own draws and on the
values of its row: so the moments of a row depend on no other row. `kernels/cuda_rows.py` has the form of a partial, and
the kernels that merge parts and add up rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mcgrad.codegen.cuda.kernel import Emitted
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.ir.program import Level, Var

ARGUMENTS = "start, stop, each, parts, units, team, omit, ids, out, c, cr"  # of every kernel over rows
TYPES = (
    ", ".join(f"types.{x}" for x in ["int64", "int64", "int64", "int32", "int32", "int32", "boolean"])
    + ",\n    pointer(types.uint64), pointer(types.float64), pointer(real_type), pointer(real_type)"
)
ROW = (  # of a unit of work, a part: its row, and what makes the noise of that
    "of_row, of_part = int32(unit // parts), int32(unit % parts)",
    "number, seed = at(ids, int32(2 * of_row)), at(ids, int32(2 * of_row + 1))",
    "high, key0, key1 = uint32(number), uint32(seed), uint32(seed >> uint64(32))",
)


@dataclass(kw_only=True)
class EmittedRows(Emitted):
    """Source of a kernel over rows, and how it is launched.

    The kernel takes, in this order: the draws wanted of each row, from `start` up to `stop`; the draws of a part, of
    which the first begins at a multiple of `aligned`; the parts of a row; those of all rows; the threads of a part;
    whether non-finite draws are left out; `ids`, the number and the seed of each row; `out`, the partials, and after
    them a number for each row, which is set to zero; the constants that all rows share, `scalars`, and those by row.
    Then, in `blocks`, zeros for the shift, the tables, the workspace and the matrices, those by row stacked.

    Parameters
    ----------
    by_row : list of (Var, offset)
        Draw-independent Vars by row, and where their elements start among the constants of a row.
    stacked : list of (Var, axes)
        Draw-independent matrices by row; `matrices` are those that all rows share.
    order : list of bool
        For each matrix among the arguments, whether it is the next of `stacked`, otherwise of `matrices`.
    aligned : int
        Draws at whose multiples parts may begin.
    teams : bool
        Whether threads of one warp have a part together, otherwise a block of threads.
    checked : bool
        Whether it looks at every draw.
    """

    by_row: list[tuple[Var, int]]
    stacked: list[tuple[Var, tuple[int, ...]]] = field(default_factory=list)
    order: list[bool] = field(default_factory=list)
    aligned: int
    teams: bool
    checked: bool

    @property
    def stride(self) -> int:
        """Constants of a row."""
        return sum(var.size for var, _ in self.by_row)

    def parts(self, start: int, stop: int) -> int:
        """Return how many parts the draws start .. stop of a row have."""
        return -(-(stop - start // self.aligned * self.aligned) // self.chunk)


class RowArguments(Arguments):
    """Arguments of a kernel over rows: elements of Vars by row are in an argument `cr` of their own.

    Attributes
    ----------
    by_row : dict of Var to int
        Draw-independent Vars by row, and where their elements start in `cr`.
    """

    @property
    def shared(self) -> dict[Var, int]:
        """Where the elements of the other Vars start in `c`."""
        return _places(var for var in self.scalars if var.level is not Level.ROW)

    @property
    def by_row(self) -> dict[Var, int]:
        """Where the elements of Vars by row start in `cr`."""
        return _places(var for var in self.scalars if var.level is Level.ROW)

    def scalar(self, var: Var) -> int:
        """Where a draw-independent Var starts in its argument."""
        self.scalars.setdefault(var, -1)
        return (self.by_row if var.level is Level.ROW else self.shared)[var]

    def memory(self, var: Var) -> str:
        """The argument that holds the elements of a draw-independent Var."""
        return "cr" if var.level is Level.ROW else "c"


def _places(variables: Iterable[Var]) -> dict[Var, int]:
    """Where each Var starts if the elements of all follow each other."""
    places, first = {}, 0
    for var in variables:
        places[var] = first
        first += var.size
    return places


def width(components: int) -> int:
    """Return how many numbers a partial has."""
    return 2 * components + 2
