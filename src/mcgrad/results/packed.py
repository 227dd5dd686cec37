"""Arrays as text in JSON: their bytes in base64, where lists of many numbers would take seconds."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcgrad.errors import ParameterError, shown
from mcgrad.noise import Shape


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """Return an array as an object that JSON has, and that :func:`unpack` reads, exactly."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    text = binascii.b2a_base64(little.tobytes(), newline=False).decode()
    return {"dtype": little.dtype.str, "shape": list(array.shape), "base64": text}


def unpack(name: str, given: Any, dtype: str, shape: Shape) -> NDArray[Any]:
    """Return the array that :func:`pack` wrote.

    Parameters
    ----------
    name : str
        Of the field, for errors.
    given : Any
    dtype : str
    shape : tuple of int
        What the array should be of; an extent of -1 is any.

    Raises
    ------
    ParameterError
        Not such an array.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    accepted = f"an array of {dtype} and shape {shape}, -1 for any, as an object with dtype, shape and base64"
    if not isinstance(given, Mapping) or set(given) != {"dtype", "shape", "base64"} or given["dtype"] != kind.str:
        raise ParameterError(name, shown(given), accepted)
    extents = given["shape"]
    fits = isinstance(extents, list) and len(extents) == len(shape) and all(type(x) is int and x >= 0 for x in extents)
    if not fits or not all(x in (-1, y) for x, y in zip(shape, extents, strict=True)):
        raise ParameterError(f"{name}.shape", shown(extents), accepted)
    try:
        content = binascii.a2b_base64(given["base64"], strict_mode=True)
        return np.frombuffer(content, kind).reshape(extents).astype(dtype)
    except (TypeError, ValueError) as error:  # binascii.Error is a ValueError
        raise ParameterError(f"{name}.base64", str(error), accepted) from None
