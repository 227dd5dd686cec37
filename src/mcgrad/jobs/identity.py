"""The identity of a run: what a checkpoint or a result must have in common with a job to be of it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import __version__
from mcgrad.engine.call import Call
from mcgrad.engine.estimator import Estimator
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate


@dataclass(frozen=True)
class Identity:
    """What two runs must have in common for one to continue the other.

    Parameters
    ----------
    n, seed : int
    dtype : str
    omitted : bool
        Whether non-finite draws are left out.
    problem : str
        Fingerprint of integrand, distribution, parameters and data.
    version : str
        Version of mcgrad. Other versions may cut the draws into other chunks, and differ in the last digits.
    """

    n: int
    seed: int
    dtype: str
    omitted: bool
    problem: str
    version: str

    @property
    def call(self) -> Call:
        """The draws of the run."""
        return Call(self.seed, 0, self.n)

    @property
    def size(self) -> int:
        """Number of rows: 1 without a batch."""
        return 1

    @property
    def draws(self) -> int:
        """Draws of the whole run, of rows that are averaged by themselves those of all of them."""
        return self.n

    def of_result(self, estimate: Estimate | BatchEstimate) -> bool:
        """Whether a result is of a run of this kind, with one problem or the same rows."""
        return isinstance(estimate, Estimate)


@dataclass(frozen=True)
class BatchIdentity(Identity):
    """What two runs over a batch must have in common.

    Parameters
    ----------
    batch_shape : list of int
    reduce : str or None
    rows : str
        Hash of the numbers of the rows.
    common_noise : bool
    """

    batch_shape: list[int]
    reduce: str | None
    rows: str
    common_noise: bool

    @property
    def size(self) -> int:
        """Number of rows."""
        return math.prod(self.batch_shape)

    @property
    def draws(self) -> int:
        """Draws of the whole run, of rows that are averaged by themselves those of all of them."""
        return self.n if self.common_noise else self.n * self.size

    def of_result(self, estimate: Estimate | BatchEstimate) -> bool:
        """Whether a result is of a run with the same rows."""
        if not isinstance(estimate, BatchEstimate):
            return False
        found = list(estimate.batch_shape), estimate.reduce, hash_of_rows(estimate.rows), estimate.total is not None
        return found == (self.batch_shape, self.reduce, self.rows, self.common_noise)


def hash_of_rows(numbers: npt.NDArray[np.int64]) -> str:
    """Return a hash of the numbers of rows, in C order."""
    return hashlib.blake2b(np.ascontiguousarray(numbers, "<i8").tobytes(), digest_size=16).hexdigest()


def identity_of(estimator: Estimator, n: int, seed: int, omitted: bool, rows: Any = None) -> Identity:
    """Return the identity of a run.

    Parameters
    ----------
    estimator : Estimator
    n, seed : int
    omitted : bool
        Whether non-finite draws are left out.
    rows : array_like of int, optional
        The numbers of the rows of a batch.

    Raises
    ------
    ParameterError
        Names `rows`, where they do not fit.
    """
    common = (n, seed, estimator.dtype, omitted, estimator.fingerprint, __version__)
    numbers, batch = estimator.row_numbers(rows), estimator.derived.batch
    if numbers is None or batch is None:
        return Identity(*common)
    return BatchIdentity(*common, list(numbers.shape), batch.reduce, hash_of_rows(numbers), batch.common_noise)
