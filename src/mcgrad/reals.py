"""Convert users' numbers to arrays and counts without loss, or raise a ParameterError with the remedy.

`inputs` and `distributions` call it for parameters, data, counts and seeds.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import as_cupy, on_device
from mcgrad.errors import ParameterError, TraceError, shown

UNMASKED = "an array without a mask: x.filled(value), or x.data with weights that are 0 where it is masked"
DETACHED = (
    "a tensor without requires_grad: x.detach(), as mcgrad makes the gradient, est.grad, itself; "
    "mcgrad.torch.expectation, for autograd, takes it by name: expectation(f, mg.Normal, n, loc=x)"
)
DENSE = "a dense array, x.toarray()"
NARROWER = "float64: x.astype(np.float64)"
FIXED = (
    "a distribution, params and data are made of numbers that no draw changes. For a density with traced parameters "
    "call the family's, mg.Normal.log_prob(x, loc=m, scale=s), which sums over all components"
)
SIGNED = "integers up to 2**63 - 1"
MOST_DRAWS = 1 << 62
MOST_AXES = 32  # NumPy broadcasts no more
FEW = 8192  # numbers whose squares BLAS adds up in one thread


def count(name: str, value: Any, least: int, most: int = MOST_DRAWS) -> int:
    """Return a whole number in a range; floats such as 1e6 are accepted."""
    if not isinstance(value, bool | np.bool_):
        try:
            whole = operator.index(value)
        except Exception:  # a TypeError, or any exception of an object's own method
            whole = int(value) if isinstance(value, float | np.floating) and float(value).is_integer() else -1
        if least <= whole <= most:
            return whole
    limit = f"at least {least}" if most == MOST_DRAWS else f"from {least} to {most}"
    raise ParameterError(name, shown(value), f"a whole number {limit}")


def function(name: str, value: Any, accepted: str) -> None:
    """Refuse what cannot be called."""
    if not callable(value):
        raise ParameterError(name, shown(value), accepted)


def seed(value: Any) -> int:
    """Return a seed."""
    return count("seed", value, 0, (1 << 64) - 1)


def real_array(
    name: str, value: Any, accepted: str, kinds: str, refused: str = "g", empty: bool = False
) -> npt.NDArray[Any]:
    """Return numbers as an array, sharing memory where they are one: NumPy's, or CuPy's for those on a device.

    Parameters
    ----------
    name : str
        Of the parameter, for the error.
    value : array_like
    accepted : str
        What is, in words.
    kinds : str
        Kinds of dtype that are accepted, as ``np.dtype.kind`` has them.
    refused : str
        Those of their dtypes that are not, as ``np.dtype.char``.
    empty : bool
        Whether an array without elements is accepted.

    Raises
    ------
    ParameterError
        Not an array of these kinds, an empty one, or one that would lose a mask, a derivative, or digits.
    """
    if (
        type(value) is np.ndarray
        and value.dtype.kind in kinds
        and value.dtype.char not in refused
        and value.ndim <= MOST_AXES
        and (value.size or empty)
    ):
        return value
    try:
        found = obstacle(value)
        if found:
            raise ParameterError(name, *found)
        array: npt.NDArray[Any] = as_cupy(name, value) if on_device(value) else np.asarray(value)
    except ParameterError:
        raise
    except TraceError as error:
        raise TraceError(f"{name} cannot be a traced value; {FIXED}", error.filename, error.lineno) from None
    except Exception as error:  # any exception of another library's array that NumPy cannot convert
        reason = "" if isinstance(value, list | tuple) else f", which is no NumPy array ({_first_line(error)})"
        raise ParameterError(name, f"{shown(value)}{reason}", accepted) from None
    if array.dtype.kind not in kinds or (array.size == 0 and not empty):
        raise ParameterError(name, shown(array if array.shape else value), accepted)
    if array.ndim > MOST_AXES:
        raise ParameterError(name, f"an array with {array.ndim} axes", f"at most {MOST_AXES} axes")
    if array.dtype.char in refused:
        raise ParameterError(name, shown(value), NARROWER if array.dtype.char == "g" else accepted)
    return array


def few_are_finite(array: npt.NDArray[Any]) -> bool:
    """Return whether a short look finds few floats on the host finite; for others, or very large ones, false."""
    return type(array) is np.ndarray and array.size <= FEW and math.isfinite(np.vdot(array, array))


def obstacle(value: Any) -> tuple[str, str] | None:
    """Return why a value cannot become a NumPy array without loss, and the remedy; None where it can."""
    if getattr(value, "requires_grad", False) is True:
        return f"{shown(value)}, a tensor that requires grad", DETACHED
    if _masked(value):
        return "a masked array", UNMASKED
    if not isinstance(value, np.ndarray) and hasattr(value, "toarray") and hasattr(value, "nnz"):
        return f"a sparse {type(value).__name__}", DENSE
    return None


def whole(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy of integers as int64, so that arithmetic on narrow ones does not wrap; booleans stay booleans."""
    if array.dtype.kind == "u" and int(array.max(initial=0)) > np.iinfo(np.int64).max:
        raise ParameterError(name, f"{array.max()}", SIGNED)
    copy = np.array(array, bool if array.dtype.kind == "b" else np.int64)
    copy.flags.writeable = False
    return copy


def _masked(value: Any) -> bool:
    """Return whether the value is a masked array, or nested lists that hold one."""
    if isinstance(value, list | tuple):
        try:
            return any(_masked(part) for part in value)
        except RecursionError:  # a list that contains itself, which NumPy does not convert
            return False
    return isinstance(value, np.ndarray) and hasattr(value, "mask")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
