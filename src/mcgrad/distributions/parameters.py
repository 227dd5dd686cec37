"""The arrays that hold parameters: float32 or float64, owned by a distribution, read-only."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.distributions.constraints import FloatArray
from mcgrad.distributions.descriptors import REAL
from mcgrad.reals import real_array


def owned(array: FloatArray) -> FloatArray:
    """Return a read-only copy."""
    copy = array.copy()
    if isinstance(copy, np.ndarray):  # on a device there is no such flag
        copy.flags.writeable = False
    return copy


def rounded(flat: dict[str, FloatArray], dtype: np.dtype[Any]) -> dict[str, FloatArray]:
    """Return arrays as they are in a dtype; those that have it already are the same objects."""
    for array in flat.values():
        if array.dtype != dtype:
            break
    else:
        return flat
    with np.errstate(over="ignore", under="ignore"):
        return {path: array.astype(dtype, copy=False) for path, array in flat.items()}


def float_array(path: str, value: Any, empty: bool = False) -> FloatArray:
    """Return `value` as a float32 or float64 array, without copying if it is one; refuse what is not real numbers.

    Parameters
    ----------
    path : str
        Of the parameter, for the error.
    value : array_like
    empty : bool
        Whether an array without elements is accepted, as of a batch without rows.
    """
    if type(value) is np.ndarray and value.dtype.char in "fd" and value.dtype.isnative and (value.size or empty):
        return value
    if type(value) is float:
        return np.array(value)
    array = real_array(path, value, REAL, "iuf", refused="eg", empty=empty)
    return array.astype(np.float32 if array.dtype.kind == "f" and array.itemsize == 4 else np.float64, copy=False)
