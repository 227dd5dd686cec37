"""What the writers of one chunk function share: the plan, the layout, the text so far, and the function's arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.codegen.loops.access import Access, resolve
from mcgrad.codegen.loops.layout import Layout
from mcgrad.codegen.loops.schedule import OuterMoments, Schedule, Tile, computed
from mcgrad.codegen.text import Source
from mcgrad.ir.ops import REDUCTIONS
from mcgrad.ir.program import Output, Var


@dataclass
class Context:
    """State of the writing of one chunk function.

    Parameters
    ----------
    plan : Schedule
    layout : Layout
    checked : bool
        Whether this is the variant that looks at every draw.

    Attributes
    ----------
    source : Source
        The text so far.
    names : dict of Var to str
        The name of each equation, as the Program prints it.
    scalars : dict of Var to int
        Draw-independent Vars, and where their elements start in the argument `c`.
    matrices : dict of (Var, axes) to int
        Draw-independent operands of matrix products with the order of axes they are wanted in, and their numbers.
    user_functions : list
        The user's own Numba functions, known to the source as native0, native1, ...
    outputs : dict of Output to int
        Random outputs, and where their elements start in the sums.
    """

    plan: Schedule
    layout: Layout
    checked: bool
    source: Source = field(default_factory=Source)
    scalars: dict[Var, int] = field(default_factory=dict)
    matrices: dict[tuple[Var, tuple[int, ...]], int] = field(default_factory=dict)
    user_functions: list[Any] = field(default_factory=list)
    outputs: dict[Output, int] = field(default_factory=dict)
    _tables: dict[bytes, int] = field(default_factory=dict)
    _integers: list[npt.NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = {var: f"v{i}" for i, var in enumerate(self.plan.program.equations())}
        self.tiled = {var for step in self.plan.steps if isinstance(step, Tile) for var in computed(step)}
        self.uses_blas = any(isinstance(step, OuterMoments) for step in self.plan.steps)
        first = 0
        for out in self.plan.program.outputs:
            if out.var.by_draw:
                self.outputs[out] = first
                first += out.var.size

    @property
    def bits(self) -> str:
        """Width of the floats, as text."""
        return self.plan.program.dtype[-2:]

    def native(self, var: Var) -> tuple[str, str]:
        """The user's function that an equation calls: its name here, and its own."""
        pair = var.attrs.function
        function = pair.value if var.op == "native_value" else pair.value_and_grad
        if function not in self.user_functions:
            self.user_functions.append(function)
        return f"native{self.user_functions.index(function)}", function.__name__

    def scalar_offset(self, var: Var) -> int:
        """Where a draw-independent Var starts in `c`."""
        if var not in self.scalars:
            self.scalars[var] = sum(other.size for other in self.scalars)
        return self.scalars[var]

    def table(self, values: npt.ArrayLike) -> int:
        """Where these integers start in `t`."""
        array = np.ascontiguousarray(values, np.int64).ravel()
        key = array.tobytes()
        if key not in self._tables:
            self._tables[key] = sum(part.size for part in self._integers)
            self._integers.append(array)
        return self._tables[key]

    def integers(self) -> npt.NDArray[np.int64]:
        """The argument `t`."""
        return np.concatenate([*self._integers, np.zeros(1, np.int64)])

    def integer(self, n: int) -> str:
        """Write an integer to be read at run time: LLVM unrolls no short loop, Numba compiles no helper twice."""
        return f"at(t, {self.table([n])})"

    def first(self, row: int) -> int:
        """Where a row starts in the workspace."""
        return row * self.layout.lanes

    def first_of(self, access: Access | Var) -> int:
        """Where the rows of what is read whole start."""
        base = resolve(access).base if isinstance(access, Var) else access.base
        return self.first(self.layout.rows[base].offset)

    def fill(self, first: int | str, count: int, value: str, comment: str) -> None:
        """Write a loop that sets `count` elements of the workspace from `first` on."""
        with self.source.block(f"for w in range({count}):  # {comment}"):
            self.source.add(f"put_any(ws, {first} + w, {value})")

    @staticmethod
    def load(base: Var) -> str:
        """The function that reads rows of a Var: rows that are added to have their own."""
        return "at_sum" if base.op in REDUCTIONS else "at"
