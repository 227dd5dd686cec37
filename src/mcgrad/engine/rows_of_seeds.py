"""Average problems that differ in values and in seeds as the rows of one batch: what `vmap` of a framework asks for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import stream_context
from mcgrad.engine.call import Call
from mcgrad.engine.estimator import Estimator
from mcgrad.engine.row_epilogue import Finished


def rows_of_seeds(
    estimator: Estimator, n: int, seeds: npt.NDArray[np.uint64], changes: Mapping[str, Any], stream: Any = None
) -> Finished:
    """Return the moments of each row over the n draws that it has by itself under its seed, those of row 0.

    Parameters
    ----------
    estimator : Estimator
        Of a batch with one axis, with ``reduce="none"``.
    n : int
    seeds : uint64 array, shape (rows,)
    changes : nested dict
        New values of parameters and data, as for a call of the Estimator.
    stream : optional
        As for a call of the Estimator.

    Returns
    -------
    Finished
        Moments of the value and of the gradients, in the order of ``estimator.derived.components``.

    Raises
    ------
    ParameterError, NonFiniteError
        As a call of the Estimator.
    """
    runner = estimator._runner.rows
    assert runner is not None, "an Estimator of a batch"
    with nullcontext() if stream is None else stream_context(stream):
        call = Call(0, 0, n, seeds=seeds)
        values, shape, numbers = runner.inputs(call, None, changes)
        return runner.moments(values, shape, np.zeros_like(numbers), call)[0]
