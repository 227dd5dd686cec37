"""The signature of an emitted function: arguments besides the draws, in the order of first use in its source."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.program import Output, Program, Var


class Arguments:
    """The arguments of the source of one Program.

    Parameters
    ----------
    program : Program
    names : dict of Var to str
        The name of each equation in the source.

    Attributes
    ----------
    outputs : dict of Output to int
        Outputs that draws change, and where their elements start in the sums.
    scalars : dict of Var to int
        Draw-independent Vars, and where their elements start in the argument `c`.
    matrices : dict of (Var, axes) to int
        Draw-independent operands of matrix products with the order of axes they are wanted in, and their numbers.
    user_functions : list
        The user's own Numba functions, known to the source as native0, native1, ...
    """

    def __init__(self, program: Program, names: dict[Var, str]) -> None:
        self.names = names
        self.outputs: dict[Output, int] = {}
        size = 0
        for out in program.outputs:
            if out.var.by_draw:
                self.outputs[out] = size
                size += out.var.size
        self.scalars: dict[Var, int] = {}
        self.matrices: dict[tuple[Var, tuple[int, ...]], int] = {}
        self.user_functions: list[Any] = []
        self._tables: dict[bytes, int] = {}
        self._integers: list[npt.NDArray[np.int64]] = []

    def user_function(self, var: Var) -> tuple[str, str]:
        """The user's function that an equation calls: its name in the source, and its own."""
        pair = var.attrs.function
        function = pair.value if var.op == "native_value" else pair.value_and_grad
        if function not in self.user_functions:
            self.user_functions.append(function)
        return f"native{self.user_functions.index(function)}", function.__name__

    def scalar(self, var: Var) -> int:
        """Where a draw-independent Var starts in `c`."""
        if var not in self.scalars:
            self.scalars[var] = sum(other.size for other in self.scalars)
        return self.scalars[var]

    def memory(self, var: Var) -> str:
        """The argument that holds the elements of a draw-independent Var."""
        return "c"

    def matrix(self, var: Var, axes: tuple[int, ...]) -> str:
        """The argument that holds a draw-independent Var with its axes in an order."""
        return f"x{self.matrices.setdefault((var, axes), len(self.matrices))}"

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
