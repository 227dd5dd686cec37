"""Constraints: the values that a parameter may have, and which of its entries are free.

`Distribution.validate` checks them at every call of an estimator. So `check` reads the whole array in as few passes and
with as few temporaries as possible; the entry that is wrong is found only for an error message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mcgrad.arrays import on_device, to_host
from mcgrad.errors import ParameterError, shown
from mcgrad.noise import Shape
from mcgrad.reals import few_are_finite

FloatArray: TypeAlias = NDArray[np.floating[Any]]
Mask: TypeAlias = NDArray[np.bool_]


def _all_free(shape: Shape) -> Mask | None:
    return None


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on one parameter.

    Parameters
    ----------
    name : str
        Its name, as in torch.distributions.
    check : callable
        Array -> whether all of it is accepted. NaN and infinities must come out as false. For an array on a device
        the result is there, too; callers copy the results of several checks together.
    describe : str
        What is accepted, for the error message.
    wrong : callable or None
        Array -> mask of the wrong entries, for the error message; None for conditions on the array as a whole.
    free : callable
        Shape -> mask of the free entries, or None for all; the gradient of the others is zero.
    rows : callable or None
        Array of the parameters of many rows, on the first axis -> whether all are accepted; None to check one by one.
    """

    name: str
    check: Callable[[FloatArray], Any]
    describe: str
    wrong: Callable[[FloatArray], Mask] | None = None
    free: Callable[[Shape], Mask | None] = _all_free
    rows: Callable[[FloatArray], Any] | None = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle the constraints of this module by name, so that they stay the same objects."""
        if globals().get(self.name) is self:
            return str(self.name)
        return type(self), (self.name, self.check, self.describe, self.wrong, self.free, self.rows)

    @property
    def by_element(self) -> bool:
        """Whether it is a condition on each entry by itself, in arrays of any shape."""
        return self.wrong is not None and self.rows is self.check

    def check_rows(self, rows: FloatArray) -> Any:
        """Return whether the parameters of all rows are accepted; those of a batch without rows are."""
        if not rows.size:
            return True
        return all(bool(self.check(row)) for row in rows) if self.rows is None else self.rows(rows)

    def refuse_row(self, parameter: str, rows: FloatArray, name: Callable[[int], str]) -> ParameterError:
        """Return the error that names `parameter`, the first row that is wrong, and the entry in it."""
        row = next(i for i, row in enumerate(rows) if not self.check(row))
        error = self.refuse(parameter, rows[row])
        return ParameterError(parameter, f"{error.given} in {name(row)}", error.accepted)

    def refuse(self, parameter: str, array: FloatArray) -> ParameterError:
        """Return the error that names `parameter` and the first entry of `array` that is wrong."""
        given = f"shape {array.shape}"
        places = np.argwhere(self.wrong(array)) if self.wrong else np.empty((0, array.ndim))
        if len(places):
            where = tuple(int(i) for i in places[0])
            given = f"{array[where]}{' in float32' if array.dtype == np.float32 else ''}"
            if where:
                more = f" ({len(places)} such entries)" if len(places) > 1 else ""
                given += f" at [{', '.join(str(i) for i in where)}] of shape {array.shape}{more}"
        return ParameterError(parameter, given, self.describe)


def checked(given: Mapping[str, Any] | None, known: Iterable[str]) -> dict[str, Constraint]:
    """Return a user's constraints; refuse names of no parameter, and values that are no constraint.

    Parameters
    ----------
    given : dict of str to Constraint, or None
    known : iterable of str
        Paths of the parameters.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ParameterError("constraints", shown(given), "a dict of parameters' names to constraints")
    names = list(known)
    for path, constraint in (given or {}).items():
        if path not in names:
            raise ParameterError(f"constraints[{path!r}]", "no parameter's name", ", ".join(names) or "none")
        if not isinstance(constraint, Constraint):
            accepted = "mcgrad.distributions.constraints.positive, or another Constraint of that module"
            raise ParameterError(f"constraints[{path!r}]", shown(constraint), accepted)
    return dict(given or {})


def interval(name: str, low: float, high: float, *, closed: str = "", describe: str) -> Constraint:
    """Return the constraint that every entry lies between `low` and `high`.

    Parameters
    ----------
    name, describe : str
        As for :class:`Constraint`.
    low, high : float
        The ends; infinite ones must stay open.
    closed : {"", "low", "both"}
        Which ends belong to the interval.
    """
    # The closed ends moved out by one float: then one strict comparison serves both kinds, in float32 too.
    below = math.nextafter(low, -math.inf) if closed in ("low", "both") else low
    above = math.nextafter(high, math.inf) if closed == "both" else high

    inside = partial(is_inside, below, above)
    return Constraint(name, inside, describe, partial(_outside, below, above), rows=inside)


def is_inside(below: float, above: float, array: FloatArray) -> Any:
    """Return whether all entries of an array lie between two numbers."""
    if type(array) is not np.ndarray and on_device(array):
        wide = array.astype(np.float64, copy=False)  # in which the ends are
        return ((below < wide) & (wide < above)).all()
    if array.ndim == 0:
        return bool(below < array.item() < above)
    if above == math.inf and array.size and few_are_finite(array):
        return below == -math.inf or below < float(np.minimum.reduce(array, axis=None))
    # minimum and maximum hand NaN on, and no comparison with NaN is true
    return bool(below < float(array.min()) and float(array.max()) < above)


def surely_inside(below: float, above: float, array: FloatArray) -> bool:
    """Return whether a short look finds all entries between two numbers; false, too, where their sum overflows.

    It is called with NumPy's errors of overflow and invalid numbers ignored.
    """
    return (
        math.isfinite(np.add.reduce(array, axis=None))
        and (below == -math.inf or below < float(np.minimum.reduce(array, axis=None)))
        and (above == math.inf or float(np.maximum.reduce(array, axis=None)) < above)
    )


def _outside(below: float, above: float, array: FloatArray) -> Mask:
    wide = array.astype(np.float64)
    return ~((below < wide) & (wide < above))


real = interval("real", -math.inf, math.inf, describe="finite")
positive = interval("positive", 0.0, math.inf, describe="finite and > 0")
nonnegative = interval("nonnegative", 0.0, math.inf, closed="low", describe="finite and >= 0")
unit_interval = interval("unit_interval", 0.0, 1.0, closed="both", describe="between 0 and 1")
open_unit_interval = interval("open_unit_interval", 0.0, 1.0, describe="between 0 and 1, neither of them")


@lru_cache(maxsize=64)
def _above_diagonal(size: int) -> NDArray[np.intp]:
    return np.flatnonzero(~np.tri(size, dtype=bool))


def _is_lower_cholesky(array: FloatArray) -> Any:
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        return False
    if on_device(array):
        return positive.check(array.diagonal()) & real.check(array) & (array == np.tril(array)).all()
    return positive.check(array.diagonal()) and real.check(array) and not array.take(_above_diagonal(len(array))).any()


def _are_lower_cholesky(rows: FloatArray) -> Any:
    if rows.ndim != 3 or rows.shape[1] != rows.shape[2]:
        return False
    diagonal = np.diagonal(rows, axis1=1, axis2=2)
    return positive.check(diagonal) & real.check(rows) & (rows == np.tril(rows)).all()


def _wrong_in_lower_cholesky(array: FloatArray) -> Mask:
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        return np.zeros(array.shape, dtype=bool)
    diagonal, lower = np.eye(len(array), dtype=bool), np.tri(len(array), dtype=bool)
    wrong: Mask = ~np.isfinite(array) | (diagonal & ~(array > 0)) | (~lower & (array != 0))
    return wrong


def _lower_triangle(shape: Shape) -> Mask:
    return np.tri(shape[-1], dtype=bool)


def _is_positive_definite(array: FloatArray) -> bool:
    return array.ndim == 2 and _are_positive_definite(array)


def _are_positive_definite(rows: FloatArray) -> bool:
    if rows.ndim < 2 or rows.shape[-1] != rows.shape[-2]:
        return False
    host = to_host(rows).astype(np.float64)
    try:
        symmetric = 0.5 * (host + np.swapaxes(host, -1, -2))
        return bool(np.isfinite(np.linalg.cholesky(symmetric)).all() and np.isfinite(host).all())
    except np.linalg.LinAlgError:
        return False


def bounds_of(constraint: Constraint) -> tuple[float, float] | None:
    """Return two numbers between which all entries have to lie, or None for other constraints."""
    check = constraint.check
    return check.args if isinstance(check, partial) and check.func is is_inside else None


def checks_on_host(constraint: Constraint) -> bool:
    """Whether a constraint copies arrays of a device to the host: for a decomposition."""
    return constraint.check is _is_positive_definite


lower_cholesky = Constraint(
    "lower_cholesky",
    _is_lower_cholesky,
    "a square matrix, finite, > 0 on the diagonal and 0 above it",
    _wrong_in_lower_cholesky,
    _lower_triangle,
    _are_lower_cholesky,
)
positive_definite = Constraint(
    "positive_definite",
    _is_positive_definite,
    "a square matrix, finite, symmetric and positive definite",
    rows=_are_positive_definite,
)
