"""`mg.at(array, i).set(value)`: an array with other elements at an index, of traced values as of plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad.ir.build import apply
from mcgrad.ir.program import Var
from mcgrad.trace.assignment import added, assigned
from mcgrad.trace.operands import operand
from mcgrad.trace.tracer import Tracer, holds_tracer, unwrap


@dataclass(frozen=True, eq=False)
class At:
    """The elements of an array at an index; `mg.at` makes it."""

    array: Any
    index: Any

    def set(self, value: Any) -> Any:
        """Return a copy of the array with the value in place of these elements.

        Parameters
        ----------
        value : array
            Of a shape that broadcasts to that of ``array[index]``.

        Returns
        -------
        array, of a dtype that holds both. Of an element that the index names twice the last value stays.
        """
        if holds_tracer((self.array, self.index, value)):
            return Tracer(_of_both(assigned, self, value))
        result = self._copy(value)
        result[self.index] = value
        return result

    def add(self, value: Any) -> Any:
        """Return a copy of the array with the value added to these elements, twice where the index names one twice.

        Parameters
        ----------
        value : array
            Of a shape that broadcasts to that of ``array[index]``.
        """
        if holds_tracer((self.array, self.index, value)):
            return Tracer(_of_both(added, self, value))
        result = self._copy(value)
        np.add.at(result, self.index, value)
        return result

    def _copy(self, value: Any) -> Any:
        array = np.asarray(self.array)
        return array.astype(np.result_type(array, np.asarray(value)))


def _of_both(rule: Callable[[Var, Any, Var], Var], place: At, value: Any) -> Var:
    """Apply a rule to an array of a kind that holds the array and the value: booleans alone stay booleans."""
    array, new = operand(unwrap(place.array)), operand(unwrap(value))
    if not array.kind == new.kind == "bool":
        return rule(apply("float", array), unwrap(place.index), new)
    result = rule(array, unwrap(place.index), new)
    return result if result.kind == "bool" else apply("not_equal", result, 0.0)


def at(array: Any, index: Any) -> At:
    """Name elements of an array that a copy of it shall have other values of: ``z = mg.at(z, i).set(value)``.

    In an integrand it takes the place of ``z[i] = value`` where z is a NumPy array, which holds numbers alone, and
    where views of z are read afterwards.

    Parameters
    ----------
    array : array
    index : anything that indexes an array
        Known while tracing, or a mask, for which `value` is one number for all elements that it finds.

    Returns
    -------
    At, with the methods ``set`` and ``add``.
    """
    return At(array, index)
