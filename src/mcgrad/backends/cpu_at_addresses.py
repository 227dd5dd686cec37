"""Repeated calls over the same number of rows, of arrays that are known by their addresses: without NumPy's arrays.

All memory that a call needs is kept from one to the next: compiled code copies the arrays to where the function over
rows reads them, and its means to where they are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mcgrad.backends.base import Array, Known, Part
from mcgrad.backends.cpu_compiled import read_only
from mcgrad.backends.cpu_row_lanes import CompiledRowLanes, halves
from mcgrad.ir.spaces import Input, Values
from mcgrad.toolchain.compile import load

SOURCE = '''"""Copies of arrays at addresses, in {dtype}."""

from numba import njit

from mcgrad.kernels.at_addresses import arrange, collect

arrange, collect = njit(nogil=True)(arrange), njit(nogil=True)(collect)
'''


COPY = ("array", "rows", "size of a row", "address to copy to", "columns there, or 0")  # a line of the table


class RowsAtAddresses:
    """Means of the draws start .. stop of each row, at arrays of the dtype of a compiled function.

    Parameters
    ----------
    compiled : CompiledRowLanes
        One that `suits`.
    known : sequence of Known
    others : mapping from Input to array
        Values of all inputs, of which those in `known` change.
    numbers : int array, shape (rows,)
        Of the rows, of which there is at least one.
    start, stop : int
    parts : sequence of Part
        What a call writes, in this order.
    weight : float
        By which totals are multiplied.
    kept : slice
        The columns of the means by row that a call returns.

    Notes
    -----
    Threads may call it at the same time.
    """

    def __init__(
        self,
        compiled: CompiledRowLanes,
        known: Sequence[Known],
        others: Values,
        numbers: Array,
        start: int,
        stop: int,
        parts: Sequence[Part],
        weight: float,
        kept: slice,
    ) -> None:
        self._compiled, self._known, self._weight, self._kept = compiled, known, weight, kept
        self._inputs = {**others, **{name: np.zeros(shape, compiled.dtype) for name, shape, _ in known}}
        self._of = numbers, start, stop
        self._parts = np.array(parts, np.int64).reshape(-1, 3)
        self.size = sum(part.size * (len(numbers) if part.by_row else 1) for part in parts)
        frame, out = self._frame(), np.empty(self.size, compiled.dtype)
        source = SOURCE.format(dtype=compiled.dtype)
        none = np.zeros((0, 2), np.int64), np.empty((0, 2)), np.zeros((0, len(COPY)), np.int64)
        self._arrange = load(source, "arrange", (), (np.empty(0, np.int64), *none, out[:0], np.empty(0)))
        self._collect = load(source, "collect", (), (*frame.collected, self._parts[:0], 1.0, out[:0]))
        self._frames = [frame]

    def __call__(self, seed: int, addresses: Sequence[int], out: Array) -> Array | None:
        """Write parts into an array; return the kept means by row. None where numbers or means have to be looked at.

        Parameters
        ----------
        seed : int
        addresses : sequence of int
            Of the arrays, which are contiguous, in the order of `known`.
        out : array, shape (size,)
        """
        try:
            frame = self._frames.pop()
        except IndexError:  # other threads have all
            frame = self._frame()
        found = None
        if self._arrange(np.array(addresses, np.int64), *frame.arranged):
            self._compiled.function(*halves(seed, 0), *frame.arguments)
            if self._collect(*frame.collected, self._parts, self._weight, out):
                found = frame.means[:, self._kept].copy()
        self._frames.append(frame)
        return found

    def _frame(self) -> _Frame:
        return _Frame(self._compiled, self._known, self._inputs, *self._of)


def suits(compiled: CompiledRowLanes) -> bool:
    """Return whether a compiled function reads inputs as they are, and has means that need not be looked at again."""
    in_order_or_turned = all(axes == tuple(range(len(axes))) or len(axes) == 2 for _, axes in compiled.matrices)
    return compiled.reads_as_given and in_order_or_turned and not (compiled.has_variances or compiled.has_pairs)


class _Frame:
    """The memory of a call, and the arguments of the compiled functions that refer to it."""

    def __init__(
        self,
        compiled: CompiledRowLanes,
        known: Sequence[Known],
        inputs: Values,
        numbers: Array,
        start: int,
        stop: int,
    ) -> None:
        rows, width, summed = len(numbers), compiled.padded(len(numbers)), compiled.emitted.summed
        values = np.empty((compiled.values_of_row, width), compiled.dtype)
        c, matrices = compiled.arguments(inputs)
        own = [x.copy() for x in matrices]
        self.means, norms = np.empty((2, rows, compiled.emitted.columns))
        zeros = np.zeros(2 * summed + width)
        totals, variances, odd = np.split(zeros, [summed, 2 * summed])
        workspace, shared = compiled.new_workspace(), (c, [read_only(x) for x in own])
        into = self.means, norms, totals, variances
        self.arguments = compiled.arguments_into(workspace, 0, start, stop, numbers, values, shared, into, odd)[2:]
        self.collected = self.means, totals, odd
        self._places = {name: i for i, (name, *_) in enumerate(known)}
        copies = [
            *(self._copy(name, inputs, values[place], width) for name, place in compiled.inputs),
            *(self._copy(name, inputs, c[place], 0) for name, place in compiled.shared_inputs),
            *(self._matrix(name, inputs, x, axes) for (name, axes), x in zip(compiled.matrices, own, strict=True)),
        ]
        counts = np.array([(math.prod(shape), bounds is not None) for _, shape, bounds in known], np.int64)
        bounds = np.array([bounds or (0.0, 0.0) for *_, bounds in known])
        table = np.array([copy for copy in copies if copy is not None], np.int64).reshape(-1, len(COPY))
        self.arranged = counts.reshape(-1, 2), bounds.reshape(-1, 2), table, np.empty(0, compiled.dtype), zeros

    def _copy(self, name: Input | None, inputs: Values, target: Array, width: int) -> tuple[int, ...] | None:
        """Return the line of the table for an array by row, or with width 0 for one that keeps its order.

        It is None where the array does not change.
        """
        if name is None or name not in self._places:
            return None
        shape = inputs[name].shape if width else (1, inputs[name].size)
        return self._places[name], shape[0], math.prod(shape[1:]), target.ctypes.data, width

    def _matrix(
        self, name: Input | None, inputs: Values, target: Array, axes: tuple[int, ...]
    ) -> tuple[int, ...] | None:
        """Return the line for a matrix, which may be transposed."""
        in_order = name is None or axes == tuple(range(len(axes)))
        return self._copy(name, inputs, target, 0 if in_order else inputs[name].shape[0])  # type: ignore[index]
