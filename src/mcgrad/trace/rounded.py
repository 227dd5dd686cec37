"""Whole numbers that are floats in NumPy, what np.floor and its like give: they are no indices.

All numbers of Programs are floats, and which are whole follows from their equations (`trace/whole`). Whether NumPy
would have integers does not, so Tracers have a mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mcgrad.trace.frames import replayed

MARK = "_rounded"  # an attribute of Tracers
ROUNDING = {"floor", "ceil", "trunc"}  # to whole numbers that stay floats, as they do in
ARITHMETIC = {"add", "subtract", "multiply", "negative", "positive", "absolute", "minimum", "maximum", "floor_divide",
              "remainder", "sign"}  # fmt: skip
INDICES = {"np.take": ("indices",), ".take": ("indices",), "np.take_along_axis": ("indices",), "np.choose": ("a",)}


def is_rounded(ufunc: str, inputs: Sequence[Any]) -> bool:
    """Whether a ufunc makes floats that are whole; a replay of another library's function has integers of its own."""
    if ufunc in ROUNDING:
        return replayed() is None
    return ufunc in ARITHMETIC and any(getattr(x, MARK, False) for x in inputs)


def refuse_rounded(key: Any) -> None:
    """Refuse floats among indices, as NumPy does.

    Raises
    ------
    IndexError
    """
    for part in key if isinstance(key, tuple | list) else (key,):
        if getattr(part, MARK, False):
            raise IndexError(
                "arrays used as indices must be of integer (or boolean) type: what np.floor, np.ceil and np.trunc give "
                "are floats, so write k.astype(int) for an index k that is made of them"
            )
