"""Measure the rates from which backends estimate what a run takes, by running small problems."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcgrad.backends.base import Backend
from mcgrad.backends.rates import Rated, Rates, input_bytes
from mcgrad.compile import CACHE_VARIABLE
from mcgrad.distributions import Normal
from mcgrad.estimator import Estimator

SPAN = 0.1  # seconds of drawing that are enough to tell how fast it is
ROWS, COLUMNS = 4000, 50  # of the regression's data: its transfer is to be seen beside a call
STEPS = 20  # of the long Program
TIMES = 3  # the least of as many runs counts
DTYPES = ("float32", "float64")

Problem = dict[str, Any]


class TunableBackend(Backend, Rated):
    """For type checkers."""


def measured(backend: TunableBackend) -> Rates:
    """Measure the rates of a backend that is available.

    Parameters
    ----------
    backend : Backend with `rates()`

    Returns
    -------
    Rates

    Notes
    -----
    Speeds are the geometric mean over Programs of elementary functions and of products with data. The seconds to load
    are right only in a process that has not loaded the backend yet. Nothing is written where `backend` keeps its code.
    """
