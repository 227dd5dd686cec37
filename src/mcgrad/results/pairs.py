"""Differences of two rows of a batch: with common noise, those of pairs of rows that are compared draw by draw."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mcgrad.moments import Float64Array, Moments

Pairs: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]

MOST_PAIRED = 32  # rows of which all pairs are compared; more are compared with the first


def pairs(rows: int) -> Pairs:
    """Return the first and the second rows of the pairs: all, or of many rows each with the first."""
    if rows <= MOST_PAIRED:
        first, second = np.triu_indices(rows, 1)
        return first, second
    return np.zeros(rows - 1, np.intp), np.arange(1, rows)


class Difference(NamedTuple):
    """The difference of two values, and its standard error.

    Parameters
    ----------
    value, stderr : float, array or nested dict of them
        As the value of a row.
    """

    value: Any
    stderr: Any


def paired(differences: Moments, rows: int, first: int, second: int) -> tuple[Float64Array, Float64Array] | None:
    """Return the differences of the values of two rows, and their standard errors; None where they are not compared.

    Parameters
    ----------
    differences : Moments
        Of all `pairs`, one after the other.
    rows, first, second : int
        Number of rows, and which two.
    """
    early, late = pairs(rows)
    at = np.flatnonzero((early == min(first, second)) & (late == max(first, second)))
    if not len(at):
        return None
    mean, error = (x.reshape(len(early), -1)[at[0]] for x in (differences.estimate, differences.stderr))
    return (mean if first < second else -mean), error
