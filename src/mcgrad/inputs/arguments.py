"""Check the arguments of Estimators and their calls: counts, seeds, names, parameters and data.

`engine` and `jobs` call these functions; each returns the value in the form that the engine uses, or raises a
ParameterError.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import contiguous, to_host
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.inputs.integrand import Integrand
from mcgrad.reals import MOST_DRAWS as MOST_DRAWS, count as count, few_are_finite, real_array, seed as seed, whole

DTYPES = ("float32", "float64")
ADAPTING = (bool, int, float, list, tuple)  # values of these types adapt to the dtype of arrays
NUMBERS = "a number or an array of floats or integers"
OUTPUTS = ("host", "device")
NONFINITE = ("propagate", "omit", "raise")
RESERVED = (
    "n",
    "seed",
    "first",
    "rows",
    "progress",
    "stream",
    "out",
    "cotangent",
    "hvp",
    "first_replicate",
    "executor",
    "require_same",
)  # arguments of a call of an Estimator besides parameters


def check_data_name(name: str) -> None:
    """Refuse a name of data that a call takes as another argument; for data that change from call to call."""
    if name in RESERVED:
        raise ParameterError(name, "a name of data", f"any name but {', '.join(RESERVED)}, which a call takes")


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


def called(f: Any) -> str:
    """Return the name of a function, for a repr."""
    return str(getattr(f, "__qualname__", None) or repr(f)).rpartition("<locals>.")[2]


def one_of(name: str, value: Any, accepted: Iterable[str]) -> str:
    """Return a name if it is among the accepted ones."""
    accepted = tuple(accepted)
    if not isinstance(value, str) or value not in accepted:
        raise ParameterError(name, shown(value), " or ".join(repr(x) for x in accepted))
    return str(value)


def names(name: str, value: Any) -> tuple[str, ...]:
    """Return one or more names as a tuple."""
    try:
        found: tuple[Any, ...] = (value,) if isinstance(value, str) else tuple(value)
    except Exception:  # a TypeError, or any exception of an object's own method
        found = (None,)
    if not all(isinstance(each, str) for each in found):
        raise ParameterError(name, shown(value), "a name, or an iterable of names")
    return found


def flag(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(name, shown(value), "True or False")
    return bool(value)


def cotangent(given: Any) -> dict[str, npt.NDArray[Any]] | None:
    """Return weights of what an integrand returns as float arrays, by dotted path; None where there are none."""
    return None if given is None else of_result("cotangent", given, "numbers of the shape of what f returns, or None")


def of_result(name: str, given: Any, accepted: str) -> dict[str, npt.NDArray[Any]]:
    """Return finite numbers in the form of what a function returns as float arrays, by dotted path."""
    if given is None or (isinstance(given, Mapping) and not given):
        raise ParameterError(name, "None" if given is None else "an empty dict", accepted)
    with renamed(lambda path: f"{name}.{path}" if path else name):
        return {path: parameter(path, x, empty=True) for path, x in tree.flatten(given).items()}


def common_dtype(q: Distribution, params: Mapping[str, Any], data: Iterable[npt.NDArray[Any]]) -> str:
    """Return the common dtype of the inputs by NumPy's promotion (Python floats adapt to arrays)."""
    leaves = tree.flatten(params) if params else {}
    arrays = [real_array(name, x, NUMBERS, "biuf") for name, x in leaves.items() if type(x) not in ADAPTING]
    kinds = [x.dtype for x in [*arrays, *data] if x.dtype.kind == "f"]
    wide = q.dtype == np.float64 or any(kind.itemsize > 4 for kind in kinds)
    return "float64" if wide else "float32"


def dtype(value: Any) -> str | None:
    """Return the name of the given dtype, or None."""
    if value is None:
        return None
    try:
        name = str(np.dtype(value).name)
    except Exception:  # NumPy raises exceptions of many types
        name = ""
    if name not in DTYPES:
        raise ParameterError("dtype", shown(value), "'float32' or 'float64'")
    return name


def parameters(
    given: Mapping[str, Any] | None, q: Distribution, empty: Container[str] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Return the integrand's own parameters as float arrays, by dotted path.

    Parameters
    ----------
    given : nested dict of str to array, optional
    q : Distribution
    empty : container of str
        Paths of those that may have no elements, as of a batch without rows.
    """
    given = mapping("params", given)
    own = set(q.params) if isinstance(q.params, Mapping) else set()
    for name in [*own, *given]:
        if name in RESERVED:
            raise ParameterError(name, "a parameter's name", f"any name but {', '.join(RESERVED)}, which a call takes")
    for name in given:
        if name in own:
            raise ParameterError(name, "in params, and a parameter of the distribution", "each name once; rename one")
    return {path: parameter(path, value, empty=path in empty) for path, value in flat_leaves(given).items()}


def flat_leaves(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the values of parameters by dotted path."""
    return tree.flatten(given) if given else {}


def parameter(
    path: str, value: Any, shape: tuple[int, ...] | None = None, batch_ndim: int = 0, empty: bool = False
) -> npt.NDArray[Any]:
    """Return one parameter of the integrand as a finite float array: for an Estimator to keep, or for a call.

    Parameters
    ----------
    path : str
    value : array_like
    shape : tuple of int, optional
        Of a call, what its shape has to be, but for so many batch axes in front. It may share memory with the value.
    batch_ndim : int
    empty : bool
        Whether it may have no elements.
    """
    empty = empty or batch_ndim > 0
    array = real_array(path, value, f"{NUMBERS}, not empty, or a dict of them", "iuf", refused="eg", empty=empty)
    if shape is None or array.dtype.kind != "f" or type(array) is not np.ndarray:
        array = array.astype(array.dtype if array.dtype.kind == "f" else np.float64)  # a copy: values, not references
    _same_shape(path, array, shape, batch_ndim)
    if not few_are_finite(array) and not np.isfinite(array).all():
        array = to_host(array)
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ParameterError(path, f"{array[index]}" + (f" at {list(index)}" if index else ""), "finite numbers")
    return array


def fitting(name: str, array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return an array as it is; refuse finite numbers that are infinite in the dtype of the Program."""
    cast(name, array, dtype)
    return array


def cast(name: str, array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return an array in the dtype of the Program; refuse finite numbers that are infinite in it."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", under="ignore"):
        new = array.astype(dtype)
    lost = ~np.isfinite(new) & np.isfinite(array)
    if lost.any():
        array, lost = to_host(array), to_host(lost)
        raise ParameterError(name, f"{array[lost].flat[0]}, infinite in {dtype}", f"numbers that are finite in {dtype}")
    return new


def data(
    given: Mapping[str, Any] | None, params: Iterable[str], empty: Container[str] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Return the data by name: floats as they are, which may be on a device; copies of integers and booleans.

    Parameters
    ----------
    given : dict of str to array, optional
    params : iterable of str
        Names that data may not have.
    empty : container of str
        Names of those that may have no elements.
    """
    given = mapping("data", given)
    for name in given:
        if name in params:
            raise ParameterError(name, "in data, and a parameter of q or in params", "each name once; rename one")
    return {name: datum(name, value, empty=name in empty) for name, value in given.items()}


def datum(
    name: str, value: Any, shape: tuple[int, ...] | None = None, batch_ndim: int = 0, empty: bool = False
) -> npt.NDArray[Any]:
    """Return one array of data, checked; parameters as for `parameter`."""
    array = real_array(name, value, f"{NUMBERS} or booleans, not empty", "biuf", empty=empty or batch_ndim > 0)
    _same_shape(name, array, shape, batch_ndim)
    return array if array.dtype.kind == "f" else whole(name, to_host(array))


def as_floats(name: str, array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return integers or booleans that differ by row as floats; refuse what the dtype does not hold exactly."""
    floats = array.astype(dtype)
    if (floats.astype(array.dtype) != array).any():
        raise ParameterError(name, f"{array.dtype} that {dtype} does not hold exactly", "smaller numbers, or floats")
    return floats


def owned(name: str, array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return a read-only copy in the dtype of the Program and in C order, in the same memory space."""
    new = cast(name, array, dtype)
    new = array.copy() if new is array else contiguous(new)
    if isinstance(new, np.ndarray):  # arrays on a device have no such flag
        new.flags.writeable = False
    return new


def draws(n: Any, q: Any) -> int:
    """Return the number of draws of a function that is called with f, q and n."""
    if n is None and isinstance(q, int | float | np.number):
        accepted = "a distribution, and n after it; with an objective, which has its distribution, n=..., by name"
        raise ParameterError("q", f"{shown(q)}, and no n", accepted)
    return count("n", n, 2)


def draw_range(n: Any, first: Any, group: int) -> tuple[int, int]:
    """Return the number of draws and the index of the first, both multiples of the size of a group."""
    n = count("n", n, 2 * group)
    first = count("first", first, 0, MOST_DRAWS - n)
    for name, value in (("n", n), ("first", first)):
        if value % group:
            raise ParameterError(name, f"{value:,}", f"a multiple of {group}, the draws that are averaged together")
    return n, first


def selected(wrt: str | Iterable[str] | None, paths: list[str]) -> tuple[str, ...]:
    """Return the paths of the parameters to differentiate in."""
    if wrt is None:
        return tuple(paths)
    try:
        names: list[Any] = [wrt] if isinstance(wrt, str) else list(wrt)
    except Exception:  # a TypeError, or any exception of an object's own method
        names = [None]
    if not all(isinstance(name, str) for name in names):
        raise ParameterError("wrt", shown(wrt), f"names out of {', '.join(paths)}")
    return tree.select(paths, names, "wrt")


def _same_shape(name: str, array: npt.NDArray[Any], shape: tuple[int, ...] | None, batch_ndim: int) -> None:
    if shape is not None and (array.shape[batch_ndim:] != shape[batch_ndim:] or array.ndim != len(shape)):
        raise ParameterError(name, f"shape {array.shape}", f"shape {shape}, as at first")


def mapping(name: str, given: Any) -> Mapping[str, Any]:
    """Return a dict whose keys are names, none where nothing is given."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) and key.isidentifier() for key in given):
        raise ParameterError(name, shown(given), "a dict of names to numbers or arrays")
    return given
