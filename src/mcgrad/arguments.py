"""Check what the user gives besides distributions: counts, seeds, names, parameters and data."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import adopt, fetch, on_device
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError, shown
from mcgrad.integrand import Integrand

DTYPES = ("float32", "float64")
OUTPUTS = ("host", "device")
NONFINITE = ("propagate", "omit", "raise")
RESERVED = ("n", "seed", "first", "progress", "stream")  # what a call of an Estimator takes besides parameters
MOST_DRAWS = 1 << 62


def count(name: str, value: Any, least: int, most: int = MOST_DRAWS) -> int:
    """Return a whole number in range; 1e6 is one."""
    if not isinstance(value, bool | np.bool_):
        try:
            whole = operator.index(value)
        except TypeError:
            whole = int(value) if isinstance(value, float | np.floating) and float(value).is_integer() else -1
        if least <= whole <= most:
            return whole
    limit = f"at least {least}" if most == MOST_DRAWS else f"from {least} to {most}"
    raise ParameterError(name, shown(value), f"a whole number {limit}")


def distribution(f: Any, q: Any) -> Distribution:
    """Return the distribution of an integrand: the one given, or an objective's own."""
    own = getattr(f, "q", None)
    if not isinstance(own, Distribution):
        if not callable(f) and not isinstance(f, Integrand):
            raise ParameterError("f", shown(f), "a function of one draw, an Integrand, or an objective such as mg.elbo")
        if not isinstance(q, Distribution):
            raise ParameterError("q", shown(q), "a distribution, such as mcgrad.Normal(loc, scale)")
        return q
    if q is not None and q is not own:
        raise ParameterError("q", shown(q), "nothing, or the distribution that the objective was made with")
    return own


def seed(value: Any) -> int:
    """Return a seed."""
    return count("seed", value, 0, (1 << 64) - 1)


def choice(name: str, value: Any, accepted: Iterable[str]) -> str:
    """Return one of some names."""
    accepted = tuple(accepted)
    if not isinstance(value, str) or value not in accepted:
        raise ParameterError(name, shown(value), " or ".join(repr(x) for x in accepted))
    return str(value)


def dtype(value: Any, q: Distribution, params: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return the dtype asked for, or the one NumPy would give the inputs (Python floats adapt to arrays)."""
    if value is None:
        given = [adopt("params", x) if on_device(x) else x for x in [*tree.flatten(params).values(), *data.values()]]
        arrays = [x for x in given if isinstance(x, np.ndarray | np.generic) or on_device(x)]
        kinds = [x.dtype for x in arrays if x.dtype.kind == "f"]
        wide = q.dtype == np.float64 or any(kind.itemsize > 4 for kind in kinds)
        return "float64" if wide else "float32"
    try:
        name = str(np.dtype(value).name)
    except TypeError:
        name = ""
    if name not in DTYPES:
        raise ParameterError("dtype", shown(value), "'float32' or 'float64'")
    return name


def parameters(given: Mapping[str, Any] | None, q: Distribution) -> dict[str, npt.NDArray[Any]]:
    """Return the integrand's own parameters as float arrays, by name."""
    given = _mapping("params", given)
    own = set(q.params) if isinstance(q.params, Mapping) else set()
    for name in [*own, *given]:
        if name in RESERVED:
            raise ParameterError(name, "a parameter's name", f"any name but {', '.join(RESERVED)}, which a call takes")
    for name in given:
        if name in own:
            raise ParameterError(name, "in params, and a parameter of the distribution", "each name once; rename one")
    return {name: parameter(name, value) for name, value in given.items()}


def parameter(name: str, value: Any, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    """Return one parameter of the integrand as a finite float array."""
    array = _array(name, value, "iuf")
    array = array.astype(array.dtype if array.dtype.kind == "f" else np.float64)  # a copy: values, not references
    if shape is not None and array.shape != shape:
        raise ParameterError(name, f"shape {array.shape}", f"shape {shape}, as at first")
    if not np.isfinite(array).all():
        array = fetch(array)
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ParameterError(name, f"{array[index]}" + (f" at {list(index)}" if index else ""), "finite numbers")
    return array


def fitting(name: str, array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return an array as it is; refuse numbers that are finite, but not in the dtype that runs."""
    cast(name, array, dtype)
    return array


def cast(name: str, array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return an array in the dtype that runs; refuse numbers that are finite, but not in that dtype."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", under="ignore"):
        new = array.astype(dtype)
    lost = ~np.isfinite(new) & np.isfinite(array)
    if lost.any():
        array, lost = fetch(array), fetch(lost)
        raise ParameterError(name, f"{array[lost].flat[0]}, infinite in {dtype}", f"numbers that are finite in {dtype}")
    return new


def data(given: Mapping[str, Any] | None, params: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the data as arrays of floats, integers or booleans, by name; only floats may stay on a device."""
    given = _mapping("data", given)
    for name in given:
        if name in params:
            raise ParameterError(name, "in data and in params", "each name once; rename one")
    arrays = {name: _array(name, value, "biuf") for name, value in given.items()}
    return {name: array if array.dtype.kind == "f" else fetch(array) for name, array in arrays.items()}


def _mapping(name: str, given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) and key.isidentifier() for key in given):
        raise ParameterError(name, shown(given), "a dict of names to numbers or arrays")
    return given


def _array(name: str, value: Any, kinds: str) -> npt.NDArray[Any]:
    accepted = "a number or an array of floats or integers" + (" or booleans" if "b" in kinds else "")
    try:
        array = adopt(name, value) if on_device(value) else np.asarray(value)
    except (TypeError, ValueError):  # rows of unequal length
        raise ParameterError(name, shown(value), accepted) from None
    if array.dtype.kind not in kinds or array.size == 0:
        raise ParameterError(name, shown(array if array.size else value), f"{accepted}, not empty")
    return array
