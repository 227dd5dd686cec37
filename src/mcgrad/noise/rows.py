"""Rows: where in the sequence of draws of a seed the draws of each row of a batch begin (docs/draws.md).

A row's number is the high word of the number of a group of draws, a word of the counter. So rows have streams of their
own, of 2**32 groups, in every backend: row r of a batch has the draws of an estimate without a batch from
`first_of_row(r)` on, and row 0 has the first draws of the seed. Rows may also have a seed each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.noise.laws import DRAWS_PER_GROUP

Seeds = int | npt.NDArray[np.uint64]  # of all rows, or one a row: an array of shape (rows,)

GROUPS = 1 << 32  # of draws in a row
MOST_ROWS = 1 << 28  # so that no number of a draw is beyond the largest that an estimate may have


def draws_of_row(dtype: str) -> int:
    """Return how many draws a row has."""
    return GROUPS * DRAWS_PER_GROUP[dtype]


def first_of_row(row: int, dtype: str) -> int:
    """Return the number of a row's first draw."""
    return row * draws_of_row(dtype)


def seeds_of(seeds: Seeds, rows: Any) -> Seeds:
    """Return the seeds of some rows, which are given as a slice or by their places."""
    return seeds if isinstance(seeds, int) else seeds[rows]


def seed_of(seeds: Seeds, row: int) -> int:
    """Return the seed of one row."""
    return seeds if isinstance(seeds, int) else int(seeds[row])
